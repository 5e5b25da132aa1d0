// Twenty: hex HMAC-SHA256 over timestamp:body. The timestamp is in milliseconds.
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.Map;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

final class Twenty {
  private static final long TOLERANCE = 5 * 60; // seconds

  /** headers has lower-case names, body is the bytes as they came, now is in seconds. */
  static boolean verify(String secret, Map<String, String> headers, byte[] body, long now)
      throws GeneralSecurityException {
    String timestamp = headers.getOrDefault("x-twenty-webhook-timestamp", "");
    if (!timestamp.matches("[0-9]{1,15}")) return false;
    if (Math.abs(now - Long.parseLong(timestamp) / 1000) > TOLERANCE) return false;
    Mac mac = Mac.getInstance("HmacSHA256");
    mac.init(new SecretKeySpec(secret.getBytes(StandardCharsets.UTF_8), "HmacSHA256"));
    mac.update((timestamp + ":").getBytes(StandardCharsets.US_ASCII));
    String expected = HexFormat.of().formatHex(mac.doFinal(body));
    String given = headers.getOrDefault("x-twenty-webhook-signature", "");
    return MessageDigest.isEqual(expected.getBytes(StandardCharsets.US_ASCII), given.getBytes(StandardCharsets.UTF_8));
  }
}
