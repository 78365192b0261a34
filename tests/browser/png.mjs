// Reads a PNG's chunks, checking each CRC.
import assert from "node:assert/strict";
import { crc32 as zlibCrc32, inflateSync } from "node:zlib";

/** `{width, height, texts}`: the size and every tEXt and iTXt chunk by keyword. */
export function readPng(bytes) {
  assert.deepEqual([...bytes.subarray(0, 8)], [137, 80, 78, 71, 13, 10, 26, 10], "PNG signature");
  const texts = {};
  let size = null;
  let isEnded = false;
  for (let at = 8; at < bytes.length; ) {
    const length = bytes.readUInt32BE(at);
    const type = bytes.toString("latin1", at + 4, at + 8);
    const data = bytes.subarray(at + 8, at + 8 + length);
    assert.equal(bytes.readUInt32BE(at + 8 + length), crc32(bytes.subarray(at + 4, at + 8 + length)), `CRC of ${type}`);
    if (type === "IHDR") size = { width: data.readUInt32BE(0), height: data.readUInt32BE(4) };
    if (type === "tEXt") addLatin1(texts, data);
    if (type === "iTXt") addUtf8(texts, data);
    isEnded = type === "IEND";
    at += 12 + length;
  }
  assert.ok(size && isEnded, "IHDR and IEND");
  return { ...size, texts };
}

function addLatin1(texts, data) {
  const end = data.indexOf(0);
  texts[data.toString("latin1", 0, end)] = data.toString("latin1", end + 1);
}

function addUtf8(texts, data) {
  const keywordEnd = data.indexOf(0);
  const isCompressed = data[keywordEnd + 1] === 1;
  const languageEnd = data.indexOf(0, keywordEnd + 3);
  const text = data.subarray(data.indexOf(0, languageEnd + 1) + 1);
  texts[data.toString("latin1", 0, keywordEnd)] = (isCompressed ? inflateSync(text) : text).toString("utf8");
}

export function crc32(bytes) {
  if (zlibCrc32) return zlibCrc32(bytes);
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return (crc ^ 0xffffffff) >>> 0;
}
