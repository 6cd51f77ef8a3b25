// Foxglove's own client and decoders: subscribes to every topic, and prints a line of JSON for each message.
// node foxglove_client.mjs ADDRESS SUBPROTOCOL MESSAGES
import { createRequire } from "node:module";

const require = createRequire(new URL("../npm/package.json", import.meta.url));
const { FoxgloveClient } = require("@foxglove/ws-protocol");
const { MessageReader } = require("@foxglove/rosmsg2-serialization");
const { parse } = require("@foxglove/rosmsg");
const WebSocket = require("ws");

const [address, subprotocol, messages] = process.argv.slice(2);
const client = new FoxgloveClient({ ws: new WebSocket(address, [subprotocol]) });
const subscribed = new Map();
let left = Number(messages);

const print = (kind, value) => console.log(JSON.stringify({ kind, ...value }));
client.on("error", (error) => print("error", { text: String(error) }));
client.on("status", (status) => print("status", status));
client.on("serverInfo", (info) => print("serverInfo", info));
client.on("advertise", (channels) => {
  for (const channel of channels) {
    const reader = new MessageReader(parse(channel.schema, { ros2: true }));
    subscribed.set(client.subscribe(channel.id), { channel, reader });
  }
});
client.on("message", ({ subscriptionId, timestamp, data }) => {
  const { channel, reader } = subscribed.get(subscriptionId);
  const { header, width, height, encoding, format, data: content, class_map, status, points } = reader.readMessage(data);
  const record = channel.schemaName === "std_msgs/msg/String" ? JSON.parse(content) : undefined;
  const values = content?.byteLength;
  const head = format === "jpeg" ? Array.from(content.slice(0, 2)) : undefined;
  print("message", {
    topic: channel.topic, type: channel.schemaName, time: Number(timestamp), stamp: header?.stamp,
    width, height, encoding, values, head, record, classes: class_map?.length, statuses: status?.length, rings: points?.length,
  });
  left -= 1;
  if (left === 0) {
    client.close();
  }
});
