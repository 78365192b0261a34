// PNGs and zips made by hand: well-formed ones, and those that are not.
import { deflateRawSync, deflateSync } from "node:zlib";
import { crc32 } from "./png.mjs";

/** A PNG's chunk. */
export function chunk(type, data) {
  const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
  return Buffer.concat([uint32(data.length), body, uint32(crc32(body))]);
}

/** Text chunks of each kind. */
export const text = (keyword, words) => chunk("tEXt", Buffer.concat([Buffer.from(`${keyword}\0`), Buffer.from(words, "latin1")]));
export const ztxt = (keyword, words) =>
  chunk("zTXt", Buffer.concat([Buffer.from(`${keyword}\0\0`), deflateSync(Buffer.from(words, "latin1"))]));
export const itxt = (keyword, words, isCompressed = false) => {
  const data = isCompressed ? deflateSync(Buffer.from(words)) : Buffer.from(words);
  return chunk("iTXt", Buffer.concat([Buffer.from(`${keyword}\0${isCompressed ? "\u0001" : "\0"}\0en\0\0`), data]));
};

/** A PNG of one colour (red, green, blue), with chunks before its pixels. */
export function makePng({ width = 8, height = 8, colour = [200, 30, 70], chunks = [] } = {}) {
  const header = Buffer.concat([uint32(width), uint32(height), Buffer.from([8, 2, 0, 0, 0])]);
  const isSmall = width * height < 1 << 20;
  const row = isSmall ? Buffer.concat([Buffer.from([0]), Buffer.from(Array.from({ length: width }, () => colour).flat())]) : Buffer.alloc(0);
  const pixels = deflateSync(Buffer.concat(Array.from({ length: isSmall ? height : 0 }, () => row)));
  const signature = Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]);
  return Buffer.concat([signature, chunk("IHDR", header), ...chunks, chunk("IDAT", pixels), chunk("IEND", Buffer.alloc(0))]);
}

/** A zip of files `{name, data, isDeflated?, bytes?}`; `bytes` is what its directory says in place of the data's length. */
export function writeZip(files) {
  const locals = [];
  const directory = [];
  let offset = 0;
  for (const { name, data, isDeflated = false, bytes = data.length } of files) {
    const stored = isDeflated ? deflateRawSync(data) : data;
    const facts = Buffer.concat([uint16le(20, 0x800, isDeflated ? 8 : 0, 0, 0), uint32le(crc32(data), stored.length, bytes), uint16le(Buffer.byteLength(name), 0)]);
    const local = Buffer.concat([uint32le(0x04034b50), facts, Buffer.from(name), stored]);
    directory.push(Buffer.concat([uint32le(0x02014b50), uint16le(20), facts, uint16le(0, 0, 0), uint32le(0, offset), Buffer.from(name)]));
    locals.push(local);
    offset += local.length;
  }
  const entries = Buffer.concat(directory);
  const end = Buffer.concat([uint32le(0x06054b50), uint16le(0, 0, files.length, files.length), uint32le(entries.length, offset), uint16le(0)]);
  return Buffer.concat([...locals, entries, end]);
}

function uint32(value) {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
}

const uint16le = (...values) => Buffer.from(values.flatMap((value) => [value & 255, (value >> 8) & 255]));
const uint32le = (...values) => Buffer.from(values.flatMap((value) => [value & 255, (value >>> 8) & 255, (value >>> 16) & 255, value >>> 24]));
