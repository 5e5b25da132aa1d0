// Checks the receivers against ../vectors.tsv: javac -d out *.java && java -cp out Check ../vectors.tsv
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;

final class Check {
  private interface Verifier {
    boolean verify(String secret, Map<String, String> headers, byte[] body, long now) throws Exception;
  }

  private static final Map<String, Verifier> VERIFIERS = Map.of(
      "standard", Standard::verify,
      "standard-ed25519", StandardEd25519::verify,
      "twenty", Twenty::verify,
      "hmac", Hmac::verify,
      "token", (secret, headers, body, now) -> Token.verify(secret, headers));

  public static void main(String[] args) throws Exception {
    int checked = 0;
    int failed = 0;
    for (String line : Files.readString(Path.of(args[0])).split("\n")) {
      if (line.isEmpty() || line.startsWith("#")) continue;
      String[] f = line.split("\t", -1); // what, scheme, want, now, secret, headers, body
      Map<String, String> headers = new HashMap<>();
      for (String field : f[5].split("\\|")) {
        int at = field.indexOf('=');
        if (at > 0) headers.put(field.substring(0, at), field.substring(at + 1));
      }
      byte[] body = f[6].getBytes(StandardCharsets.UTF_8);
      boolean got = VERIFIERS.get(f[1]).verify(f[4], headers, body, Long.parseLong(f[3]) / 1000);
      if (got != f[2].equals("holds")) {
        System.out.println(f[1] + ", " + f[0] + ": " + (got ? "holds" : "is refused"));
        failed++;
      }
      checked++;
    }
    System.out.println(checked + " vectors checked");
    if (failed > 0) System.exit(1);
  }
}
