// Publishes to or consumes from one JetStream stream: `nats-driver produce|consume URL STREAM RECORDS RECORD_BYTES`, one JSON line.
// produce: asynchronous publishes, at most 4,000 unacknowledged, every acknowledgement waited for and checked.
// consume: an ordered consumer with large pulls; sequences must be 1, 2, 3 … without a gap.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

type outcome struct {
	Records int     `json:"records"`
	Bytes   int     `json:"bytes"`
	Seconds float64 `json:"seconds"`
}

func produce(ctx context.Context, js jetstream.JetStream, name string, records, recordBytes int) (outcome, error) {
	config := jetstream.StreamConfig{Name: name, Subjects: []string{name}, Storage: jetstream.FileStorage, Replicas: 1}
	stream, err := js.CreateStream(ctx, config)
	if err != nil {
		return outcome{}, err
	}
	value := make([]byte, recordBytes)
	for at := range value {
		value[at] = 'v'
	}
	started := time.Now()
	for sent := 0; sent < records; sent++ {
		if _, err := js.PublishAsync(name, value, jetstream.WithStallWait(30*time.Second)); err != nil {
			return outcome{}, err
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(60 * time.Second):
		return outcome{}, fmt.Errorf("%d publishes without an acknowledgement after 60 s", js.PublishAsyncPending())
	}
	seconds := time.Since(started).Seconds()
	info, err := stream.Info(ctx)
	if err != nil {
		return outcome{}, err
	}
	return outcome{Records: int(info.State.Msgs), Bytes: records * recordBytes, Seconds: seconds}, nil
}

func consume(ctx context.Context, js jetstream.JetStream, name string, records, recordBytes int) (outcome, error) {
	consumer, err := js.OrderedConsumer(ctx, name, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return outcome{}, err
	}
	started := time.Now()
	messages, err := consumer.Messages(jetstream.PullMaxMessages(10_000))
	if err != nil {
		return outcome{}, err
	}
	defer messages.Stop()
	for seen := 1; seen <= records; seen++ {
		message, err := messages.Next()
		if err != nil {
			return outcome{}, err
		}
		metadata, err := message.Metadata()
		if err != nil {
			return outcome{}, err
		}
		if metadata.Sequence.Stream != uint64(seen) || len(message.Data()) != recordBytes {
			return outcome{}, fmt.Errorf("found sequence %d with %d bytes, wanted %d with %d", metadata.Sequence.Stream, len(message.Data()), seen, recordBytes)
		}
	}
	return outcome{Records: records, Bytes: records * recordBytes, Seconds: time.Since(started).Seconds()}, nil
}

func run() error {
	if len(os.Args) != 6 {
		return fmt.Errorf("usage: nats-driver produce|consume URL STREAM RECORDS RECORD_BYTES")
	}
	records, err := strconv.Atoi(os.Args[4])
	if err != nil {
		return err
	}
	recordBytes, err := strconv.Atoi(os.Args[5])
	if err != nil {
		return err
	}
	connection, err := nats.Connect(os.Args[2])
	if err != nil {
		return err
	}
	defer connection.Close()
	js, err := jetstream.New(connection, jetstream.WithPublishAsyncMaxPending(4_000))
	if err != nil {
		return err
	}
	work := produce
	if os.Args[1] == "consume" {
		work = consume
	}
	done, err := work(context.Background(), js, os.Args[3], records, recordBytes)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(done)
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "nats-driver:", err)
		os.Exit(1)
	}
}
