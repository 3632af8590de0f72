import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.locks.LockSupport;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * End-to-end latency at a set rate: BOOTSTRAP TOPIC RECORDS RATE RECORD_BYTES WARM_UP_RECORDS, run as a single source file; one JSON line.
 * One process sends and reads, as Kafka's EndToEndLatency does, but without waiting for one record before the next. Every record carries the
 * moment it was meant to be sent, so a producer that falls behind shows as latency. The warm-up records are read and checked, not measured.
 */
public class EndToEndAtRate {
  public static void main(String[] args) throws Exception {
    String bootstrap = args[0];
    String topic = args[1];
    int records = Integer.parseInt(args[2]);
    int rate = Integer.parseInt(args[3]);
    int recordBytes = Integer.parseInt(args[4]);
    int warmUp = Integer.parseInt(args[5]);
    int total = warmUp + records;

    Map<String, Object> reading = Map.of("bootstrap.servers", bootstrap, "fetch.min.bytes", 1, "auto.offset.reset", "earliest");
    Map<String, Object> writing = Map.of("bootstrap.servers", bootstrap, "acks", "all", "linger.ms", 0);
    TopicPartition partition = new TopicPartition(topic, 0);
    try (KafkaConsumer<byte[], byte[]> consumer =
            new KafkaConsumer<>(reading, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        KafkaProducer<byte[], byte[]> producer =
            new KafkaProducer<>(writing, new ByteArraySerializer(), new ByteArraySerializer())) {
      producer.partitionsFor(topic);
      consumer.assign(List.of(partition));
      consumer.seekToBeginning(List.of(partition));
      consumer.poll(Duration.ofMillis(500)); // connected and parked before the first record is due

      Thread sender = new Thread(() -> send(producer, topic, total, rate, recordBytes));
      sender.setDaemon(true);
      sender.start();
      double[] latencies = new double[records];
      int seen = 0;
      while (seen < total) {
        for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofSeconds(10))) {
          long now = System.nanoTime();
          if (record.offset() != seen) throw new IllegalStateException("found offset " + record.offset() + ", wanted " + seen);
          if (seen >= warmUp) latencies[seen - warmUp] = (now - ByteBuffer.wrap(record.value()).getLong()) / 1e6;
          seen++;
        }
      }
      Arrays.sort(latencies);
      System.out.printf(java.util.Locale.ROOT,
          "{\"records\":%d,\"latencyMs\":{\"p50\":%.3f,\"p95\":%.3f,\"p99\":%.3f,\"max\":%.3f}}%n",
          seen - warmUp, at(latencies, 0.5), at(latencies, 0.95), at(latencies, 0.99), at(latencies, 1));
    }
  }

  private static void send(KafkaProducer<byte[], byte[]> producer, String topic, int total, int rate, int recordBytes) {
    long intervalNanos = 1_000_000_000L / rate;
    long start = System.nanoTime();
    for (int index = 0; index < total; index++) {
      long due = start + index * intervalNanos;
      for (long left = due - System.nanoTime(); left > 0; left = due - System.nanoTime()) LockSupport.parkNanos(left);
      byte[] value = new byte[recordBytes];
      ByteBuffer.wrap(value).putLong(due);
      producer.send(new ProducerRecord<>(topic, 0, null, value));
    }
  }

  private static double at(double[] sorted, double share) {
    return sorted[(int) ((sorted.length - 1) * share)];
  }
}
