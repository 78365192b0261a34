/** The studio page's entry. */
import "./trusted-types";
import "./app/theme.css";
import * as fraise from "./engine/index";
import { AnimationView } from "./app/animation-view";
import { BatchGrid } from "./app/batch-grid";
import { CanvasStage } from "./app/canvas-stage";
import { ConvertPanel } from "./app/convert-panel";
import { DropTarget } from "./app/drop-target";
import { BlobImage } from "./app/gallery/blob-image";
import { GalleryGrid } from "./app/gallery/gallery-grid";
import { GalleryPanel } from "./app/gallery/gallery-panel";
import { PictureCompare } from "./app/gallery/picture-compare";
import { PictureViewer } from "./app/gallery/picture-viewer";
import { IdeaList } from "./app/idea-list";
import { LanguageSwitch } from "./app/language-switch";
import { MannerChips } from "./app/manner-chips";
import { ModelNote } from "./app/model-note";
import { ModelsDrawer } from "./app/models-drawer";
import { NoteView } from "./app/note-view";
import { Notices } from "./app/notices";
import { ProgressView } from "./app/progress-view";
import { PromptBox } from "./app/prompt-box";
import { PromptField } from "./app/prompt-field";
import { QueueList } from "./app/queue-list";
import { ResultBar } from "./app/result-bar";
import { SamplingFields } from "./app/sampling-fields";
import { SettingsPanel } from "./app/settings-panel";
import { StartPanel } from "./app/start/start-panel";
import { StepScrubber } from "./app/step-scrubber";
import { StudioPage } from "./app/studio-page";
import { studio } from "./app/store";

declare global {
  interface Window {
    /** What `import … from "fraise"` gives, for the console and for scripts. */
    fraise: typeof fraise;
  }
}

window.fraise = fraise;
customElements.define("fraise-language", LanguageSwitch);
customElements.define("fraise-notices", Notices);
customElements.define("fraise-prompt-field", PromptField);
customElements.define("fraise-manners", MannerChips);
customElements.define("fraise-prompt", PromptBox);
customElements.define("fraise-start", StartPanel);
customElements.define("fraise-ideas", IdeaList);
customElements.define("fraise-settings", SettingsPanel);
customElements.define("fraise-model-note", ModelNote);
customElements.define("fraise-models", ModelsDrawer);
customElements.define("fraise-convert", ConvertPanel);
customElements.define("fraise-drop", DropTarget);
customElements.define("fraise-stage", CanvasStage);
customElements.define("fraise-progress", ProgressView);
customElements.define("fraise-result", ResultBar);
customElements.define("fraise-steps", StepScrubber);
customElements.define("fraise-animation", AnimationView);
customElements.define("fraise-batch", BatchGrid);
customElements.define("fraise-queue", QueueList);
customElements.define("fraise-sampling", SamplingFields);
customElements.define("fraise-image", BlobImage);
customElements.define("fraise-grid", GalleryGrid);
customElements.define("fraise-gallery", GalleryPanel);
customElements.define("fraise-viewer", PictureViewer);
customElements.define("fraise-compare", PictureCompare);
customElements.define("fraise-note", NoteView);
customElements.define("fraise-studio", StudioPage);
studio.installer.watch();
void studio.updates.watch();
