// A webhook receiver as it is usually written with express. With no argument it stores nothing; with a file's name it
// keeps each event by better-sqlite3, in a transaction of its own that is synced to disk before the 202.

import { timingSafeEqual } from "node:crypto";
import express from "express";

const token = Buffer.from(`Bearer ${process.env.TOKEN}`);
const keep = process.argv[2] ? await store(process.argv[2]) : () => {};

async function store(file) {
  const { default: Database } = await import("better-sqlite3");
  const database = new Database(file);
  database.pragma("journal_mode = WAL");
  database.pragma("synchronous = FULL");
  database.exec(`CREATE TABLE users (user_id TEXT PRIMARY KEY, generation INTEGER NOT NULL, due_at INTEGER NOT NULL,
    event_type TEXT NOT NULL) WITHOUT ROWID`);
  const push = database.prepare(`INSERT INTO users VALUES (?, 1, ?, ?)
    ON CONFLICT DO UPDATE SET generation = generation + 1, event_type = excluded.event_type`);
  return (event) => push.run(event.userId, Date.now() + 3_600_000, event.eventType);
}

const app = express();
app.disable("x-powered-by");
app.post("/webhooks/sesamy", express.json({ type: "*/*", limit: 65536 }), (request, response) => {
  const sent = Buffer.from(request.headers.authorization ?? "");
  if (sent.length !== token.length || !timingSafeEqual(sent, token)) {
    return response.status(401).json({ title: "wrong credentials" });
  }
  keep(request.body);
  response.status(202).json({ status: "accepted" });
});

const server = app.listen(0, "127.0.0.1", () => {
  const { address, port } = server.address();
  console.log(JSON.stringify({ address: `${address}:${port}` }));
});
