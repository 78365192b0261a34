/** Leaves out what is not the element's interface: private members, and attributes and events that nobody has described. */
const interfaceOnly = {
  name: "interface-only",
  packageLinkPhase({ customElementsManifest }) {
    const isDescribed = ({ description }) => description !== undefined;
    for (const element of customElementsManifest.modules.flatMap(({ declarations }) => declarations)) {
      element.attributes = element.attributes?.filter(isDescribed);
      element.events = element.events?.filter(isDescribed);
      element.members = element.members?.filter(({ privacy }) => privacy !== "private");
    }
  },
};

/** What the analyzer reads for `dist/custom-elements.json`, which editors and frameworks take the element's interface from. */
export default {
  globs: ["src/painter.ts"],
  outdir: "../dist",
  litelement: true,
  packagejson: false,
  quiet: true,
  plugins: [interfaceOnly],
};
