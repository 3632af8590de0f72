import com.rabbitmq.stream.Address;
import com.rabbitmq.stream.ByteCapacity;
import com.rabbitmq.stream.Consumer;
import com.rabbitmq.stream.Environment;
import com.rabbitmq.stream.OffsetSpecification;
import com.rabbitmq.stream.Producer;
import com.rabbitmq.stream.codec.SimpleCodec;
import java.util.Arrays;
import java.util.Locale;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;

/**
 * Writes or reads one RabbitMQ stream: produce|consume PORT STREAM RECORDS RECORD_BYTES BATCH SUB_ENTRY, run as a single source file; one JSON
 * line. produce: asynchronous sends, every confirmation waited for and checked. consume: from the first offset; offsets must follow one another.
 * Records are bytes and nothing else (SimpleCodec): with an AMQP message around each both directions were half as fast or slower.
 */
public class StreamBench {
  public static void main(String[] args) throws Exception {
    int port = Integer.parseInt(args[1]);
    String stream = args[2];
    int records = Integer.parseInt(args[3]);
    int recordBytes = Integer.parseInt(args[4]);
    Address address = new Address("127.0.0.1", port);
    double seconds;
    try (Environment environment =
        Environment.builder().host("127.0.0.1").port(port).addressResolver(ignored -> address).codec(new SimpleCodec()).build()) {
      seconds = args[0].equals("produce")
          ? produce(environment, stream, records, recordBytes, Integer.parseInt(args[5]), Integer.parseInt(args[6]))
          : consume(environment, stream, records, recordBytes);
    }
    System.out.printf(Locale.ROOT, "{\"records\":%d,\"bytes\":%d,\"seconds\":%.6f}%n",
        records, (long) records * recordBytes, seconds);
  }

  private static double produce(Environment environment, String stream, int records, int recordBytes, int batch, int subEntry)
      throws Exception {
    environment.streamCreator().stream(stream).maxLengthBytes(ByteCapacity.GB(50)).create();
    Producer producer = environment.producerBuilder().stream(stream).batchSize(batch).subEntrySize(subEntry)
        .maxUnconfirmedMessages(100_000).confirmTimeout(java.time.Duration.ofSeconds(60)).build();
    byte[] value = new byte[recordBytes];
    Arrays.fill(value, (byte) 'v');
    AtomicLong left = new AtomicLong(records);
    AtomicReference<String> failure = new AtomicReference<>();
    CountDownLatch done = new CountDownLatch(1);
    long started = System.nanoTime();
    for (int index = 0; index < records; index++) {
      producer.send(producer.messageBuilder().addData(value).build(), status -> {
        if (!status.isConfirmed()) failure.set("a record was not confirmed: code " + status.getCode());
        if (left.decrementAndGet() == 0) done.countDown();
      });
    }
    boolean isDone = done.await(120, TimeUnit.SECONDS);
    double seconds = (System.nanoTime() - started) / 1e9;
    if (!isDone) throw new IllegalStateException(left.get() + " records without a confirmation");
    if (failure.get() != null) throw new IllegalStateException(failure.get());
    producer.close();
    return seconds;
  }

  private static double consume(Environment environment, String stream, int records, int recordBytes) throws Exception {
    long[] next = {0};
    AtomicReference<String> failure = new AtomicReference<>();
    CountDownLatch done = new CountDownLatch(1);
    long started = System.nanoTime();
    Consumer consumer = environment.consumerBuilder().stream(stream).offset(OffsetSpecification.first())
        .flow().initialCredits(10).builder()
        .messageHandler((context, message) -> {
          if (context.offset() != next[0] || message.getBodyAsBinary().length != recordBytes) {
            failure.compareAndSet(null, "found offset " + context.offset() + ", wanted " + next[0]);
            done.countDown();
          }
          if (++next[0] == records) done.countDown();
        }).build();
    boolean isDone = done.await(120, TimeUnit.SECONDS);
    double seconds = (System.nanoTime() - started) / 1e9;
    consumer.close();
    if (!isDone) throw new IllegalStateException("read " + next[0] + " of " + records + " records");
    if (failure.get() != null) throw new IllegalStateException(failure.get());
    return seconds;
  }
}
