/** Reads the small files in the zip at the end of a TFLite file, as the `zipfile` module of Python does. */

const END_SIGNATURE = 0x06054b50;
const ENTRY_SIGNATURE = 0x02014b50;
const END_BYTES = 22; // of the end record without its comment
const MAX_COMMENT = 0xffff;
const STORED = 0;
const DEFLATED = 8;
const MAX_ASSETS = 2 ** 24; // bytes of all files

/**
 * Returns a promise of `{name: text}`.
 *
 * @param {Uint8Array} bytes The whole file; the zip need not begin at its first byte.
 */
export async function readArchive(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = endRecord(view);
  const count = view.getUint16(end + 10, true);
  const directoryBytes = view.getUint32(end + 12, true);
  const start = end - directoryBytes - view.getUint32(end + 16, true); // of the zip in the file
  let position = end - directoryBytes;
  const texts = {};
  let total = 0;
  for (let index = 0; index < count; index++) {
    if (view.getUint32(position, true) !== ENTRY_SIGNATURE) throw new RangeError("its zip is damaged");
    const entry = readEntry(view, bytes, position);
    total += entry.size;
    if (total > MAX_ASSETS) throw new RangeError("its associated files are too large");
    texts[entry.name] = await readText(view, bytes, start + entry.offset, entry);
    position = entry.next;
  }
  return texts;
}

function endRecord(view) {
  const last = view.byteLength - END_BYTES;
  for (let position = last; position >= Math.max(last - MAX_COMMENT, 0); position--) {
    if (view.getUint32(position, true) === END_SIGNATURE) return position;
  }
  throw new RangeError("it carries no associated files");
}

function readEntry(view, bytes, position) {
  const nameBytes = view.getUint16(position + 28, true);
  const extra = view.getUint16(position + 30, true) + view.getUint16(position + 32, true);
  const nameEnd = position + 46 + nameBytes;
  return {
    method: view.getUint16(position + 10, true),
    packed: view.getUint32(position + 20, true),
    size: view.getUint32(position + 24, true),
    offset: view.getUint32(position + 42, true),
    name: new TextDecoder().decode(bytes.subarray(position + 46, nameEnd)),
    next: nameEnd + extra,
  };
}

async function readText(view, bytes, header, { method, packed, size }) {
  const first = header + 30 + view.getUint16(header + 26, true) + view.getUint16(header + 28, true);
  const content = new Blob([bytes.subarray(first, first + packed)]);
  if (method === STORED) return content.text();
  if (method !== DEFLATED) throw new RangeError(`its zip has the unknown method ${method}`);
  const stream = content.stream().pipeThrough(new DecompressionStream("deflate-raw"));
  const unpacked = await new Response(stream).arrayBuffer();
  if (unpacked.byteLength !== size) throw new RangeError("its zip is damaged");
  return new TextDecoder().decode(unpacked);
}
