// Decodes a bag by Foxglove's packages, with its index: node count.cjs FILE. It prints the messages by topic, in JSON.
const { open } = require("node:fs/promises");
const { McapIndexedReader } = require("@mcap/core");
const { loadDecompressHandlers } = require("@mcap/support");
const { parse } = require("@foxglove/rosmsg");
const { MessageReader } = require("@foxglove/rosmsg2-serialization");

async function main(file) {
  const handle = await open(file, "r");
  const size = BigInt((await handle.stat()).size);
  const read = async (offset, length) => {
    const bytes = new Uint8Array(Number(length));
    await handle.read(bytes, 0, bytes.length, Number(offset));
    return bytes;
  };
  const decompressHandlers = await loadDecompressHandlers();
  const reader = await McapIndexedReader.Initialize({ readable: { size: async () => size, read }, decompressHandlers });
  const decoders = new Map();
  for (const [id, channel] of reader.channelsById) {
    const text = new TextDecoder().decode(reader.schemasById.get(channel.schemaId).data);
    decoders.set(id, new MessageReader(parse(text, { ros2: true })));
  }
  const counts = {};
  for await (const message of reader.readMessages()) {
    decoders.get(message.channelId).readMessage(message.data);
    const topic = reader.channelsById.get(message.channelId).topic;
    counts[topic] = (counts[topic] ?? 0) + 1;
  }
  await handle.close();
  console.log(JSON.stringify(counts));
}

main(process.argv[2]);
