// Standard Webhooks, v1: HMAC-SHA256 with a secret whsec_… that sender and receiver share.
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.util.Base64;
import java.util.Map;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

final class Standard {
  private static final long TOLERANCE = 5 * 60; // seconds

  /** headers has lower-case names, body is the bytes as they came, now is in seconds. */
  static boolean verify(String secret, Map<String, String> headers, byte[] body, long now)
      throws GeneralSecurityException {
    String id = headers.getOrDefault("webhook-id", "");
    String timestamp = headers.getOrDefault("webhook-timestamp", "");
    if (id.isEmpty() || !timestamp.matches("[0-9]{1,15}")) return false;
    if (Math.abs(now - Long.parseLong(timestamp)) > TOLERANCE) return false;
    byte[] key = Base64.getDecoder().decode(secret.replaceFirst("^whsec_", ""));
    Mac mac = Mac.getInstance("HmacSHA256");
    mac.init(new SecretKeySpec(key, "HmacSHA256"));
    mac.update((id + "." + timestamp + ".").getBytes(StandardCharsets.UTF_8));
    byte[] expected = ("v1," + Base64.getEncoder().encodeToString(mac.doFinal(body))).getBytes(StandardCharsets.US_ASCII);
    // While a secret rotates there are several signatures, separated by spaces. One that holds is enough.
    for (String given : headers.getOrDefault("webhook-signature", "").split(" ")) {
      if (MessageDigest.isEqual(expected, given.getBytes(StandardCharsets.UTF_8))) return true;
    }
    return false;
  }
}
