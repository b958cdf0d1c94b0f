// ioredis under each role: several connections, pub/sub and a cluster client.
//
// node ioredis.mjs FOLDER PORT CLUSTER_PORT "ROLE COMMAND" ...

import { createRequire } from "node:module";

const [folder, port, clusterPort, ...work] = process.argv.slice(2);
const Redis = createRequire(`${folder}/`)("ioredis");

const words = (command, key) => command.split(" ").map((word) => (word === "KEY" ? key : word));

async function alone(role, command) {
  const options = { port: Number(port), db: 1, username: role, password: "change-me", connectionName: "pool" };
  const pool = Array.from({ length: 4 }, () => new Redis(options));
  await Promise.all(pool.map((client) => client.call(...words(command, `{team}:${role}`))));
  await pool[0].multi().ping().exec();
  if (role === "observer" || role === "operator") {
    await pool[1].psubscribe("__keyevent@0__:*");
    await pool[1].subscribe(`__keyspace@0__:{team}:${role}`);
  }
  await Promise.all(pool.map((client) => client.quit()));
}

async function clustered(role, command) {
  const redisOptions = { username: role, password: "change-me" };
  const client = new Redis.Cluster([{ host: "127.0.0.1", port: Number(clusterPort) }], { redisOptions });
  await client.call(...words(command, `{team}:${role}`));
  await client.quit();
}

for (const line of work) {
  const [role, ...rest] = line.split(" ");
  await alone(role, rest.join(" "));
  await clustered(role, rest.join(" "));
  console.log(`${role} works`);
}
