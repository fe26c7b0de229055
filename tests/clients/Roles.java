// What one user may do with jnats: every operation once, all at the same time, each on a
// connection of its own. Prints {operation: whether it worked}.
import io.nats.client.*;
import io.nats.client.api.*;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;

public class Roles {
    static final Duration WAIT = Duration.ofSeconds(3);
    static final Map<String, String> ENV = System.getenv();

    interface Operation {
        void run(Connection nc) throws Exception;
    }

    static Connection connect() throws Exception {
        Options options = Options.builder()
            .server(ENV.get("NATS_URL"))
            .inboxPrefix(ENV.get("NATS_INBOX_PREFIX"))
            .authHandler(Nats.staticCredentials(null, ENV.get("NATS_NKEY_SEED").toCharArray()))
            .errorListener(new ErrorListener() {})
            .connectionTimeout(Duration.ofSeconds(20))
            .build();
        return Nats.connect(options);
    }

    static JetStreamOptions patient() {
        return JetStreamOptions.builder().requestTimeout(WAIT).build();
    }

    static JetStream js(Connection nc) throws Exception {
        return nc.jetStream(patient());
    }

    static JetStreamManagement jsm(Connection nc) throws Exception {
        return nc.jetStreamManagement(patient());
    }

    static void say(Connection nc, String subject) throws Exception {
        nc.publish(subject, "x".getBytes());
        nc.flush(WAIT);
    }

    static Message first(Subscription subscription) throws Exception {
        Message message = subscription.nextMessage(WAIT);
        if (message == null) throw new Exception("nothing came");
        return message;
    }

    static Message hears(Connection nc, String subject) throws Exception {
        Subscription subscription = nc.subscribe(subject);
        nc.flush(WAIT);
        return first(subscription);
    }

    static void asks(Connection nc, String subject) throws Exception {
        if (nc.request(subject, new byte[0], WAIT) == null) throw new Exception("no answer");
    }

    static Map<String, Operation> operations(String who) {
        Map<String, Operation> all = new LinkedHashMap<>();
        all.put("publish", nc -> say(nc, "T.said." + who));
        all.put("subscribe", nc -> hears(nc, "T.chatter"));
        all.put("request", nc -> asks(nc, "O.api.x"));
        all.put("shared", nc -> hears(nc, "O.public.chatter"));
        all.put("answer", nc -> {
            nc.publish(hears(nc, "T.ask." + who).getReplyTo(), "answered".getBytes());
            nc.flush(WAIT);
        });
        all.put("inbox", nc -> {
            String inbox = nc.createInbox();
            Subscription subscription = nc.subscribe(inbox);
            say(nc, inbox);
            first(subscription);
        });
        all.put("account", nc -> jsm(nc).getAccountStatistics());
        all.put("describe", nc -> jsm(nc).getStreamInfo("LOG"));
        all.put("find", nc -> {
            if (!jsm(nc).getStreamNames("T.log.>").contains("LOG")) throw new Exception("another stream");
        });
        all.put("store", nc -> js(nc).publish("T.log.new", "x".getBytes()));
        all.put("fetch", nc -> {
            PullSubscribeOptions bound = PullSubscribeOptions.bind("WORK", "worker");
            List<Message> messages = js(nc).subscribe(null, bound).fetch(1, WAIT);
            if (messages.isEmpty()) throw new Exception("nothing came");
            messages.get(0).ackSync(WAIT);
        });
        all.put("ordered", nc -> {
            PushSubscribeOptions ordered = PushSubscribeOptions.builder().stream("LOG").ordered(true).build();
            first(js(nc).subscribe("T.log.>", ordered));
        });
        all.put("key-read", nc -> {
            if (bucket(nc).get("color") == null) throw new Exception("no value");
        });
        all.put("key-watch", nc -> {
            CompletableFuture<Boolean> came = new CompletableFuture<>();
            bucket(nc).watch("color", new KeyValueWatcher() {
                public void watch(KeyValueEntry entry) {
                    came.complete(true);
                }
                public void endOfData() {}
            });
            came.get(WAIT.toMillis(), TimeUnit.MILLISECONDS);
        });
        all.put("key-write", nc -> bucket(nc).put("by." + who, "x".getBytes()));
        all.put("object-read", nc -> files(nc).get("logo", new ByteArrayOutputStream()));
        all.put("object-write", nc -> files(nc).put("by-" + who, new ByteArrayInputStream("x".getBytes())));
        all.put("make", nc -> {
            String name = "MADE_" + who.replace('.', '_');
            StreamConfiguration stream = StreamConfiguration.builder().name(name).subjects("T.made." + who).maxBytes(10_000).build();
            jsm(nc).addStream(stream);
            jsm(nc).deleteStream(name);
        });
        all.put("purge", nc -> jsm(nc).purgeStream("SCRAP"));
        all.put("names", nc -> {
            if (jsm(nc).getStreams().isEmpty()) throw new Exception("no streams");
        });
        all.put("advisories", nc -> hears(nc, "$JS.EVENT.ADVISORY.>"));
        all.put("connections", nc -> asks(nc, "$SYS.REQ.ACCOUNT.PING.CONNZ"));
        all.put("publish-foreign", nc -> say(nc, "O.said." + who));
        all.put("subscribe-foreign", nc -> hears(nc, "O.chatter"));
        all.put("subscribe-all", nc -> hears(nc, ">"));
        return all;
    }

    static KeyValue bucket(Connection nc) throws Exception {
        return nc.keyValue("settings", KeyValueOptions.builder().jetStreamOptions(patient()).build());
    }

    static ObjectStore files(Connection nc) throws Exception {
        return nc.objectStore("files", ObjectStoreOptions.builder().jetStreamOptions(patient()).build());
    }

    static boolean tried(String name, Operation operation) {
        try (Connection nc = connect()) {
            operation.run(nc);
            return true;
        } catch (Exception error) {
            if (ENV.containsKey("EXPLAIN")) System.err.println(name + " " + error);
            return false;
        }
    }

    public static void main(String[] arguments) throws Exception {
        Map<String, Operation> all = operations(arguments[0]);
        ExecutorService threads = Executors.newFixedThreadPool(all.size());
        Map<String, Future<Boolean>> tries = new LinkedHashMap<>();
        all.forEach((name, operation) -> tries.put(name, threads.submit(() -> tried(name, operation))));
        StringJoiner results = new StringJoiner(", ", "{", "}");
        for (var entry : tries.entrySet()) {
            boolean worked;
            try {
                worked = entry.getValue().get(15, TimeUnit.SECONDS);
            } catch (TimeoutException late) {
                worked = false;
            }
            results.add("\"" + entry.getKey() + "\": " + worked);
        }
        System.out.println(results);
        System.exit(0);
    }
}
