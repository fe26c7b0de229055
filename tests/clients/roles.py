"""What one user may do with nats-py: every operation once, all at the same time, each on
a connection of its own. Prints {operation: whether it worked}."""
import asyncio
import json
import os
import sys

import nats
from nats.js.api import StreamConfig

WAIT = 3
who = sys.argv[1]
env = os.environ


async def connect():
    async def quiet(_):
        pass

    login = {"nkeys_seed_str": env["NATS_NKEY_SEED"]}
    return await nats.connect(env["NATS_URL"], inbox_prefix=env["NATS_INBOX_PREFIX"].encode(), error_cb=quiet, **login)


async def publish(nc):
    await nc.publish(f"T.said.{who}", b"x")
    await nc.flush()


async def publish_foreign(nc):
    await nc.publish(f"O.said.{who}", b"x")
    await nc.flush()


async def hears(nc, subject):
    subscription = await nc.subscribe(subject)
    await subscription.next_msg(timeout=WAIT)


async def answer(nc):
    subscription = await nc.subscribe(f"T.ask.{who}")
    message = await subscription.next_msg(timeout=WAIT)
    await message.respond(b"answered")
    await nc.flush()


async def request(nc):
    await nc.request("O.api.x", b"", timeout=WAIT)


async def inbox(nc):
    subject = nc.new_inbox()
    subscription = await nc.subscribe(subject)
    await nc.publish(subject, b"x")
    await subscription.next_msg(timeout=WAIT)


async def account(nc):
    await nc.jetstream(timeout=WAIT).account_info()


async def describe(nc):
    await nc.jetstream(timeout=WAIT).stream_info("LOG")


async def find(nc):
    assert await nc.jetstream(timeout=WAIT).find_stream_name_by_subject("T.log.>") == "LOG"


async def store(nc):
    await nc.jetstream(timeout=WAIT).publish("T.log.new", b"x")


async def fetch(nc):
    subscription = await nc.jetstream(timeout=WAIT).pull_subscribe_bind("worker", stream="WORK")
    (message,) = await subscription.fetch(1, timeout=WAIT)
    await message.ack_sync(timeout=WAIT)


async def ordered(nc):
    subscription = await nc.jetstream(timeout=WAIT).subscribe("T.log.>", stream="LOG", ordered_consumer=True)
    await subscription.next_msg(timeout=WAIT)


async def bucket(nc):
    return await nc.jetstream(timeout=WAIT).key_value("settings")


async def key_read(nc):
    await (await bucket(nc)).get("color")


async def key_watch(nc):
    watcher = await (await bucket(nc)).watch("color")
    assert (await watcher.updates(timeout=WAIT)).key == "color"


async def key_write(nc):
    await (await bucket(nc)).put(f"by.{who}", b"x")


async def files(nc):
    return await nc.jetstream(timeout=WAIT).object_store("files")


async def object_read(nc):
    assert (await (await files(nc)).get("logo")).data


async def object_write(nc):
    await (await files(nc)).put(f"by-{who}", b"x")


async def make(nc):
    js, name = nc.jetstream(timeout=WAIT), "MADE_" + who.replace(".", "_")
    await js.add_stream(StreamConfig(name=name, subjects=[f"T.made.{who}"], max_bytes=10_000))
    await js.delete_stream(name)


async def purge(nc):
    await nc.jetstream(timeout=WAIT).purge_stream("SCRAP")


async def names(nc):
    assert await nc.jetstream(timeout=WAIT).streams_info()


async def connections(nc):
    await nc.request("$SYS.REQ.ACCOUNT.PING.CONNZ", b"", timeout=WAIT)


async def advisories(nc):
    await hears(nc, "$JS.EVENT.ADVISORY.>")


OPERATIONS = {
    "publish": publish,
    "subscribe": lambda nc: hears(nc, "T.chatter"),
    "request": request,
    "shared": lambda nc: hears(nc, "O.public.chatter"),
    "answer": answer,
    "inbox": inbox,
    "account": account,
    "describe": describe,
    "find": find,
    "store": store,
    "fetch": fetch,
    "ordered": ordered,
    "key-read": key_read,
    "key-watch": key_watch,
    "key-write": key_write,
    "object-read": object_read,
    "object-write": object_write,
    "make": make,
    "purge": purge,
    "names": names,
    "advisories": advisories,
    "connections": connections,
    "publish-foreign": publish_foreign,
    "subscribe-foreign": lambda nc: hears(nc, "O.chatter"),
    "subscribe-all": lambda nc: hears(nc, ">"),
}


async def tried(operation):
    nc = await connect()
    try:
        await asyncio.wait_for(operation(nc), 4 * WAIT)
        return True
    except Exception as error:
        if env.get("EXPLAIN"):
            print(operation, repr(error), file=sys.stderr)
        return False
    finally:
        await nc.close()


async def main():
    worked = await asyncio.gather(*(tried(operation) for operation in OPERATIONS.values()))
    print(json.dumps(dict(zip(OPERATIONS, worked))))


asyncio.run(main())
