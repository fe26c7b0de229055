// What one user may do with the JavaScript client: every operation once, all at the same
// time, each on a connection of its own. Prints {operation: whether it worked}.
import { connect, createInbox, nkeyAuthenticator } from "@nats-io/transport-node";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import { Objm } from "@nats-io/obj";

const WAIT = 3000;
const who = process.argv[2];
const env = process.env;
const options = () => ({
  servers: env.NATS_URL,
  inboxPrefix: env.NATS_INBOX_PREFIX,
  authenticator: nkeyAuthenticator(new TextEncoder().encode(env.NATS_NKEY_SEED)),
});

const after = (ms) => new Promise((_, reject) => setTimeout(() => reject(new Error("nothing came")), ms).unref());
const first = async (iterable) => {
  for await (const item of iterable) return item;
  throw new Error("it ended");
};
const soon = (iterable) => Promise.race([first(iterable), after(WAIT)]);
const say = async (nc, subject) => {
  nc.publish(subject, "x");
  await nc.flush();
};
const hears = (nc, subject) => soon(nc.subscribe(subject));
const manager = (nc) => jetstreamManager(nc, { timeout: WAIT });
const bucket = (nc) => new Kvm(jetstream(nc, { timeout: WAIT })).open("settings");
const files = (nc) => new Objm(jetstream(nc, { timeout: WAIT })).open("files");
const one = async (consumer) => {
  const message = await soon(await consumer.fetch({ max_messages: 1, expires: WAIT }));
  return message;
};

const operations = {
  publish: (nc) => say(nc, `T.said.${who}`),
  subscribe: (nc) => hears(nc, "T.chatter"),
  request: (nc) => nc.request("O.api.x", "", { timeout: WAIT }),
  shared: (nc) => hears(nc, "O.public.chatter"),
  answer: async (nc) => {
    (await hears(nc, `T.ask.${who}`)).respond("answered");
    await nc.flush();
  },
  inbox: async (nc) => {
    const subject = createInbox(env.NATS_INBOX_PREFIX);
    const heard = hears(nc, subject);
    await Promise.all([heard, say(nc, subject)]);
  },
  account: async (nc) => (await manager(nc)).getAccountInfo(),
  describe: async (nc) => (await manager(nc)).streams.info("LOG"),
  find: async (nc) => {
    if ((await (await manager(nc)).streams.find("T.log.>")) !== "LOG") throw new Error("another stream");
  },
  store: (nc) => jetstream(nc, { timeout: WAIT }).publish("T.log.new", "x"),
  fetch: async (nc) => {
    const message = await one(await jetstream(nc, { timeout: WAIT }).consumers.get("WORK", "worker"));
    if (!(await message.ackAck())) throw new Error("not acknowledged");
  },
  ordered: async (nc) => one(await jetstream(nc, { timeout: WAIT }).consumers.get("LOG")),
  "key-read": async (nc) => {
    if (!(await (await bucket(nc)).get("color"))) throw new Error("no value");
  },
  "key-watch": async (nc) => soon(await (await bucket(nc)).watch({ key: "color" })),
  "key-write": async (nc) => (await bucket(nc)).put(`by.${who}`, "x"),
  "object-read": async (nc) => {
    if (!(await (await files(nc)).getBlob("logo"))) throw new Error("no object");
  },
  "object-write": async (nc) => (await files(nc)).putBlob({ name: `by-${who}` }, new TextEncoder().encode("x")),
  make: async (nc) => {
    const jsm = await manager(nc);
    const name = `MADE_${who.replaceAll(".", "_")}`;
    await jsm.streams.add({ name, subjects: [`T.made.${who}`], max_bytes: 10_000 });
    await jsm.streams.delete(name);
  },
  purge: async (nc) => (await manager(nc)).streams.purge("SCRAP"),
  names: async (nc) => {
    if (!(await (await manager(nc)).streams.list().next()).length) throw new Error("no streams");
  },
  advisories: (nc) => hears(nc, "$JS.EVENT.ADVISORY.>"),
  connections: (nc) => nc.request("$SYS.REQ.ACCOUNT.PING.CONNZ", "", { timeout: WAIT }),
  "publish-foreign": (nc) => say(nc, `O.said.${who}`),
  "subscribe-foreign": (nc) => hears(nc, "O.chatter"),
  "subscribe-all": (nc) => hears(nc, ">"),
};

const tried = async ([name, operation]) => {
  const nc = await connect(options());
  try {
    await Promise.race([operation(nc), after(4 * WAIT)]);
    return [name, true];
  } catch (error) {
    if (env.EXPLAIN) console.error(name, error.message);
    return [name, false];
  } finally {
    nc.close().catch(() => {});
  }
};

const results = await Promise.all(Object.entries(operations).map(tried));
console.log(JSON.stringify(Object.fromEntries(results)));
process.exit(0);
