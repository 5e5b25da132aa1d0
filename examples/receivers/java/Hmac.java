// The scheme hmac of a webhook whose signing is
//   {"scheme": "hmac", "header": "X-Signature", "prefix": "v0=", "template": "v0:{timestamp}:{body}",
//    "timestamp_header": "X-Signature-Timestamp"}
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.Map;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

final class Hmac {
  private static final long TOLERANCE = 5 * 60; // seconds

  /** headers has lower-case names, body is the bytes as they came, now is in seconds. */
  static boolean verify(String secret, Map<String, String> headers, byte[] body, long now)
      throws GeneralSecurityException {
    String timestamp = headers.getOrDefault("x-signature-timestamp", "");
    if (!timestamp.matches("[0-9]{1,15}")) return false;
    if (Math.abs(now - Long.parseLong(timestamp)) > TOLERANCE) return false;
    Mac mac = Mac.getInstance("HmacSHA256");
    mac.init(new SecretKeySpec(secret.getBytes(StandardCharsets.UTF_8), "HmacSHA256"));
    mac.update(("v0:" + timestamp + ":").getBytes(StandardCharsets.US_ASCII));
    String expected = "v0=" + HexFormat.of().formatHex(mac.doFinal(body));
    String given = headers.getOrDefault("x-signature", "");
    return MessageDigest.isEqual(expected.getBytes(StandardCharsets.US_ASCII), given.getBytes(StandardCharsets.UTF_8));
  }
}
