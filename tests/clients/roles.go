// What one user may do with nats.go: every operation once, all at the same time, each on a
// connection of its own. Prints {operation: whether it worked}.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
)

const wait = 3 * time.Second

var who = os.Args[1]

func connect() (*nats.Conn, error) {
	pair, err := nkeys.FromSeed([]byte(os.Getenv("NATS_NKEY_SEED")))
	if err != nil {
		return nil, err
	}
	public, err := pair.PublicKey()
	if err != nil {
		return nil, err
	}
	return nats.Connect(os.Getenv("NATS_URL"), nats.Nkey(public, pair.Sign),
		nats.CustomInboxPrefix(os.Getenv("NATS_INBOX_PREFIX")), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
}

func say(nc *nats.Conn, subject string) error {
	if err := nc.Publish(subject, []byte("x")); err != nil {
		return err
	}
	return nc.Flush()
}

func hears(nc *nats.Conn, subject string) (*nats.Msg, error) {
	subscription, err := nc.SubscribeSync(subject)
	if err != nil {
		return nil, err
	}
	return subscription.NextMsg(wait)
}

func heard(subject string) operation {
	return func(_ context.Context, nc *nats.Conn, _ jetstream.JetStream) error {
		_, err := hears(nc, subject)
		return err
	}
}

type operation func(context.Context, *nats.Conn, jetstream.JetStream) error

func fetch(ctx context.Context, _ *nats.Conn, js jetstream.JetStream) error {
	worker, err := js.Consumer(ctx, "WORK", "worker")
	if err != nil {
		return err
	}
	message, err := worker.Next(jetstream.FetchMaxWait(wait))
	if err != nil {
		return err
	}
	return message.DoubleAck(ctx)
}

func ordered(ctx context.Context, _ *nats.Conn, js jetstream.JetStream) error {
	log, err := js.OrderedConsumer(ctx, "LOG", jetstream.OrderedConsumerConfig{FilterSubjects: []string{"T.log.>"}})
	if err != nil {
		return err
	}
	_, err = log.Next(jetstream.FetchMaxWait(wait))
	return err
}

func bucket(use func(jetstream.KeyValue) error) operation {
	return func(ctx context.Context, _ *nats.Conn, js jetstream.JetStream) error {
		kv, err := js.KeyValue(ctx, "settings")
		if err != nil {
			return err
		}
		return use(kv)
	}
}

func store(use func(jetstream.ObjectStore) error) operation {
	return func(ctx context.Context, _ *nats.Conn, js jetstream.JetStream) error {
		files, err := js.ObjectStore(ctx, "files")
		if err != nil {
			return err
		}
		return use(files)
	}
}

func operations(ctx context.Context) map[string]operation {
	name := strings.ReplaceAll(who, ".", "_")
	return map[string]operation{
		"publish": func(_ context.Context, nc *nats.Conn, _ jetstream.JetStream) error { return say(nc, "T.said."+who) },
		"publish-foreign": func(_ context.Context, nc *nats.Conn, _ jetstream.JetStream) error {
			return say(nc, "O.said."+who)
		},
		"subscribe":         heard("T.chatter"),
		"shared":            heard("O.public.chatter"),
		"subscribe-foreign": heard("O.chatter"),
		"subscribe-all":     heard(">"),
		"advisories":        heard("$JS.EVENT.ADVISORY.>"),
		"request": func(_ context.Context, nc *nats.Conn, _ jetstream.JetStream) error {
			_, err := nc.Request("O.api.x", nil, wait)
			return err
		},
		"connections": func(_ context.Context, nc *nats.Conn, _ jetstream.JetStream) error {
			_, err := nc.Request("$SYS.REQ.ACCOUNT.PING.CONNZ", nil, wait)
			return err
		},
		"answer": func(_ context.Context, nc *nats.Conn, _ jetstream.JetStream) error {
			request, err := hears(nc, "T.ask."+who)
			if err != nil {
				return err
			}
			if err := request.Respond([]byte("answered")); err != nil {
				return err
			}
			return nc.Flush()
		},
		"inbox": func(_ context.Context, nc *nats.Conn, _ jetstream.JetStream) error {
			inbox := nc.NewInbox()
			subscription, err := nc.SubscribeSync(inbox)
			if err != nil {
				return err
			}
			if err := say(nc, inbox); err != nil {
				return err
			}
			_, err = subscription.NextMsg(wait)
			return err
		},
		"account": func(ctx context.Context, _ *nats.Conn, js jetstream.JetStream) error {
			_, err := js.AccountInfo(ctx)
			return err
		},
		"describe": func(ctx context.Context, _ *nats.Conn, js jetstream.JetStream) error {
			_, err := js.Stream(ctx, "LOG")
			return err
		},
		"find": func(ctx context.Context, _ *nats.Conn, js jetstream.JetStream) error {
			found, err := js.StreamNameBySubject(ctx, "T.log.>")
			if err == nil && found != "LOG" {
				return errors.New("another stream")
			}
			return err
		},
		"store": func(ctx context.Context, _ *nats.Conn, js jetstream.JetStream) error {
			_, err := js.Publish(ctx, "T.log.new", []byte("x"))
			return err
		},
		"fetch":   fetch,
		"ordered": ordered,
		"key-read": bucket(func(kv jetstream.KeyValue) error {
			_, err := kv.Get(ctx, "color")
			return err
		}),
		"key-watch": bucket(func(kv jetstream.KeyValue) error {
			watcher, err := kv.Watch(ctx, "color")
			if err != nil {
				return err
			}
			select {
			case entry := <-watcher.Updates():
				if entry == nil {
					return errors.New("no value")
				}
				return nil
			case <-time.After(wait):
				return errors.New("nothing came")
			}
		}),
		"key-write": bucket(func(kv jetstream.KeyValue) error {
			_, err := kv.Put(ctx, "by."+who, []byte("x"))
			return err
		}),
		"object-read": store(func(files jetstream.ObjectStore) error {
			_, err := files.GetBytes(ctx, "logo")
			return err
		}),
		"object-write": store(func(files jetstream.ObjectStore) error {
			_, err := files.PutBytes(ctx, "by-"+who, []byte("x"))
			return err
		}),
		"make": func(ctx context.Context, _ *nats.Conn, js jetstream.JetStream) error {
			config := jetstream.StreamConfig{Name: "MADE_" + name, Subjects: []string{"T.made." + who}, MaxBytes: 10_000}
			if _, err := js.CreateStream(ctx, config); err != nil {
				return err
			}
			return js.DeleteStream(ctx, config.Name)
		},
		"purge": func(_ context.Context, nc *nats.Conn, _ jetstream.JetStream) error {
			answer, err := nc.Request("$JS.API.STREAM.PURGE.SCRAP", nil, wait)
			if err == nil && strings.Contains(string(answer.Data), `"error"`) {
				return errors.New(string(answer.Data))
			}
			return err
		},
		"names": func(ctx context.Context, _ *nats.Conn, js jetstream.JetStream) error {
			streams := js.ListStreams(ctx)
			for range streams.Info() {
				return nil
			}
			if err := streams.Err(); err != nil {
				return err
			}
			return errors.New("no streams")
		},
	}
}

func tried(name string, try operation) error {
	nc, err := connect()
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	return try(ctx, nc, js)
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 4*wait)
	defer cancel()
	worked, lock, all := map[string]bool{}, sync.Mutex{}, sync.WaitGroup{}
	for name, try := range operations(ctx) {
		all.Add(1)
		go func() {
			defer all.Done()
			err := tried(name, try)
			if err != nil && os.Getenv("EXPLAIN") != "" {
				fmt.Fprintln(os.Stderr, name, err)
			}
			lock.Lock()
			defer lock.Unlock()
			worked[name] = err == nil
		}()
	}
	all.Wait()
	text, err := json.Marshal(worked)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(text))
}
