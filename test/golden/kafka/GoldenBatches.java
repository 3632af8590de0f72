// Makes the golden record batches with Kafka's own client library, and decodes batches with it. How to run: README.md beside this file.
//
//   java … GoldenBatches.java write DIRECTORY          writes NAME.bin and NAME.json (what Kafka reads in them), and murmur2.json
//   java … GoldenBatches.java read FILE.bin …          checks batches that somebody else made and writes FILE.json beside each

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;
import org.apache.kafka.clients.producer.internals.ProducerBatch;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.EndTransactionMarker;
import org.apache.kafka.common.record.ControlRecordType;
import org.apache.kafka.common.record.MemoryRecords;
import org.apache.kafka.common.record.MemoryRecordsBuilder;
import org.apache.kafka.common.record.MutableRecordBatch;
import org.apache.kafka.common.record.Record;
import org.apache.kafka.common.record.RecordBatch;
import org.apache.kafka.common.record.SimpleRecord;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.utils.Utils;

public class GoldenBatches {
  static final long TIME = 1306886400000L; // 2011-06-01T00:00:00Z
  static final Header[] NONE = new Header[0];

  public static void main(String[] args) throws Exception {
    if (args[0].equals("write")) write(Path.of(args[1]));
    else for (int i = 1; i < args.length; i++) describe(Path.of(args[i]));
  }

  static void write(Path directory) throws Exception {
    save(directory, "none", producer(Compression.NONE, false, mixed()));
    save(directory, "gzip", producer(Compression.gzip().build(), false, mixed()));
    save(directory, "zstd", producer(Compression.zstd().build(), false, mixed()));
    save(directory, "snappy", producer(Compression.snappy().build(), false, mixed()));
    save(directory, "lz4", producer(Compression.lz4().build(), false, mixed()));
    save(directory, "idempotent", producer(Compression.NONE, true, mixed()));
    save(directory, "gzip-many", producer(Compression.gzip().build(), true, many()));
    save(directory, "zstd-many", producer(Compression.zstd().build(), true, many()));
    save(directory, "sparse", sparse());
    save(directory, "append-time", appendTime());
    save(directory, "control", MemoryRecords.withEndTransactionMarker(
        77L, TIME, 3, 4_503_599_627_370_495L, (short) 12, new EndTransactionMarker(ControlRecordType.COMMIT, 9)));
    Files.writeString(directory.resolve("murmur2.json"), murmur2());
  }

  /** The path of KafkaProducer: RecordAccumulator makes this builder and this ProducerBatch, the Sender closes it. */
  static MemoryRecords producer(Compression compression, boolean idempotent, List<SimpleRecord> records) {
    MemoryRecordsBuilder builder = MemoryRecords.builder(
        ByteBuffer.allocate(1 << 20), compression, TimestampType.CREATE_TIME, 0L);
    ProducerBatch batch = new ProducerBatch(new TopicPartition("golden", 0), builder, TIME);
    for (SimpleRecord r : records) {
      if (batch.tryAppend(r.timestamp(), bytes(r.key()), bytes(r.value()), r.headers(), null, TIME) == null) throw new IllegalStateException();
    }
    if (idempotent) builder.setProducerState(4_503_599_627_370_495L, (short) 12, 2_147_483_000, false);
    batch.close();
    return batch.records();
  }

  static List<SimpleRecord> mixed() {
    List<SimpleRecord> records = new ArrayList<>();
    records.add(record(TIME, "customer-17850", "{\"sku\":\"85123A\",\"quantity\":6}",
        header("type", "ItemAdded".getBytes()), header("id", new byte[] {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, (byte) 255})));
    records.add(record(TIME + 86_400_000L, null, "no key"));
    records.add(record(TIME - 1, "null value", null));
    records.add(record(TIME - 3_000_000_000L, null, null));
    records.add(record(TIME, "", ""));
    records.add(record(TIME + 1, "Gr\u00fc\u00dfe \ud83d\udc56", "\u00e9".repeat(100),
        header("", null), header("tag", "a".getBytes()), header("tag", new byte[0]), header("\u00fc", "\u4e2d".getBytes(StandardCharsets.UTF_8))));
    records.add(record(0, "the epoch", "x".repeat(10_000)));
    return records;
  }

  static List<SimpleRecord> many() {
    List<SimpleRecord> records = new ArrayList<>();
    for (int i = 0; i < 700; i++) {
      records.add(record(TIME + (i * 7919L) % 100_000 - 50_000, "stream-" + i % 100, "value " + i * 2_654_435_761L, header("n", Integer.toString(i).getBytes())));
    }
    return records;
  }

  /** As a compacted log holds it: gaps between offsets, a base offset, an epoch. */
  static MemoryRecords sparse() {
    MemoryRecordsBuilder builder = MemoryRecords.builder(ByteBuffer.allocate(1 << 16), RecordBatch.CURRENT_MAGIC_VALUE,
        Compression.NONE, TimestampType.CREATE_TIME, 8_589_934_592L, RecordBatch.NO_TIMESTAMP, 5);
    builder.appendWithOffset(8_589_934_592L, record(TIME, "a", "1"));
    builder.appendWithOffset(8_589_934_600L, record(TIME + 5, "b", "2"));
    builder.appendWithOffset(8_589_934_592L + 2_000_000_000L, record(TIME - 5, "a", "3"));
    return builder.build();
  }

  static MemoryRecords appendTime() {
    MemoryRecordsBuilder builder = MemoryRecords.builder(ByteBuffer.allocate(1 << 16), RecordBatch.CURRENT_MAGIC_VALUE,
        Compression.NONE, TimestampType.LOG_APPEND_TIME, 40L, TIME + 1_000, 5);
    builder.append(record(TIME, "a", "1"));
    builder.append(record(TIME + 5, "b", "2"));
    return builder.build();
  }

  static SimpleRecord record(long timestamp, String key, String value, Header... headers) {
    return new SimpleRecord(timestamp, utf8(key), utf8(value), headers);
  }

  static Header header(String key, byte[] value) {
    return new RecordHeader(key, value);
  }

  static byte[] utf8(String text) {
    return text == null ? null : text.getBytes(StandardCharsets.UTF_8);
  }

  static byte[] bytes(ByteBuffer buffer) {
    return buffer == null ? null : Utils.toArray(buffer.duplicate());
  }

  static void save(Path directory, String name, MemoryRecords records) throws Exception {
    Path file = directory.resolve(name + ".bin");
    Files.write(file, Utils.toArray(records.buffer().duplicate()));
    describe(file);
  }

  static void describe(Path file) throws Exception {
    MemoryRecords records = MemoryRecords.readableRecords(ByteBuffer.wrap(Files.readAllBytes(file)));
    List<String> batches = new ArrayList<>();
    for (MutableRecordBatch batch : records.batches()) batches.add(describe(batch));
    String name = file.getFileName().toString().replaceAll("\\.bin$", ".json");
    Files.writeString(file.resolveSibling(name), "[" + String.join(",\n", batches) + "]\n");
  }

  static String describe(MutableRecordBatch batch) {
    batch.ensureValid();
    List<String> records = new ArrayList<>();
    for (Record r : batch) {
      r.ensureValid();
      List<String> headers = new ArrayList<>();
      for (Header h : r.headers()) headers.add("[" + base64(utf8(h.key())) + "," + base64(h.value()) + "]");
      records.add("\n    {\"offset\":" + r.offset() + ",\"timestamp\":" + r.timestamp() + ",\"sequence\":" + r.sequence()
          + ",\"key\":" + base64(bytes(r.key())) + ",\"value\":" + base64(bytes(r.value()))
          + ",\"headers\":[" + String.join(",", headers) + "]}");
    }
    return "{\"baseOffset\":" + batch.baseOffset() + ",\"nextOffset\":" + batch.nextOffset() + ",\"sizeBytes\":" + batch.sizeInBytes()
        + ",\"leaderEpoch\":" + batch.partitionLeaderEpoch() + ",\"codec\":\"" + batch.compressionType().name + "\""
        + ",\"control\":" + batch.isControlBatch() + ",\"appendTime\":" + (batch.timestampType() == TimestampType.LOG_APPEND_TIME)
        + ",\"maxTimestamp\":" + batch.maxTimestamp() + ",\"producerId\":" + batch.producerId() + ",\"producerEpoch\":" + batch.producerEpoch()
        + ",\"baseSequence\":" + batch.baseSequence() + ",\"lastSequence\":" + batch.lastSequence()
        + ",\"recordCount\":" + batch.countOrNull() + ",\"crc\":" + batch.checksum() + ",\"records\":[" + String.join(",", records) + "]}";
  }

  static String murmur2() {
    String[] keys = {"", "a", "ab", "abc", "abcd", "21", "foobar", "a-little-bit-long-string", "customer-17850", "Gr\u00fc\u00dfe \ud83d\udc56", "\u00ff", "x".repeat(1024)};
    List<String> rows = new ArrayList<>();
    for (String key : keys) {
      byte[] bytes = utf8(key);
      rows.add("  {\"key\":" + base64(bytes) + ",\"murmur2\":" + Utils.murmur2(bytes)
          + ",\"partitionOf7\":" + BuiltInPartitioner.partitionForKey(bytes, 7)
          + ",\"partitionOf4096\":" + BuiltInPartitioner.partitionForKey(bytes, 4096) + "}");
    }
    return "[\n" + String.join(",\n", rows) + "\n]\n";
  }

  static String base64(byte[] bytes) {
    return bytes == null ? "null" : "\"" + Base64.getEncoder().encodeToString(bytes) + "\"";
  }
}
