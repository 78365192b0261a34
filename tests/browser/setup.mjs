// What a file of tests opens once, and what is done away with after its last test.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";

/** What is being opened, a site or a browser, to be closed after the file's last test. */
export async function closedAfter(opening) {
  const opened = await opening;
  after(() => opened.close());
  return opened;
}

/** A folder that is there until the file's last test is over. */
export async function temporaryFolder() {
  const folder = await mkdtemp(join(tmpdir(), "fraise-tests-"));
  after(() => rm(folder, { recursive: true }));
  return folder;
}
