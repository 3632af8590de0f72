import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListOffsetsResult.ListOffsetsResultInfo;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.common.TopicPartition;

/**
 * create BOOTSTRAP TOPIC…: one partition each, so that no tool is measured while its topic is made. count BOOTSTRAP TOPIC…: one JSON object,
 * topic to number of records. Run as a single source file.
 */
public class TopicAdmin {
  public static void main(String[] args) throws Exception {
    List<String> topics = Arrays.asList(args).subList(2, args.length);
    try (Admin admin = Admin.create(Map.of("bootstrap.servers", args[1]))) {
      if (args[0].equals("create")) {
        admin.createTopics(topics.stream().map(topic -> new NewTopic(topic, 1, (short) 1)).toList()).all().get();
        return;
      }
      Map<TopicPartition, OffsetSpec> ends = new HashMap<>();
      for (String topic : topics) ends.put(new TopicPartition(topic, 0), OffsetSpec.latest());
      List<String> fields = new ArrayList<>();
      for (Map.Entry<TopicPartition, ListOffsetsResultInfo> entry : admin.listOffsets(ends).all().get().entrySet())
        fields.add("\"" + entry.getKey().topic() + "\":" + entry.getValue().offset());
      System.out.println("{" + String.join(",", fields) + "}");
    }
  }
}
