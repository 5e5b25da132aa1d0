// A secret in a header of the webhook's own, here X-Webhook-Token, for receivers that check no signature.
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.Map;

final class Token {
  /** headers has lower-case names. */
  static boolean verify(String secret, Map<String, String> headers) {
    String given = headers.getOrDefault("x-webhook-token", "");
    return MessageDigest.isEqual(secret.getBytes(StandardCharsets.UTF_8), given.getBytes(StandardCharsets.UTF_8));
  }
}
