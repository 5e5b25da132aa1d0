// Standard Webhooks, v1a: Ed25519. The receiver has the public key whpk_… alone, which is no secret.
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.PublicKey;
import java.security.Signature;
import java.security.SignatureException;
import java.security.spec.X509EncodedKeySpec;
import java.util.Base64;
import java.util.HexFormat;
import java.util.Map;

final class StandardEd25519 {
  private static final long TOLERANCE = 5 * 60; // seconds

  /** headers has lower-case names, body is the bytes as they came, now is in seconds. */
  static boolean verify(String publicKey, Map<String, String> headers, byte[] body, long now)
      throws GeneralSecurityException {
    String id = headers.getOrDefault("webhook-id", "");
    String timestamp = headers.getOrDefault("webhook-timestamp", "");
    if (id.isEmpty() || !timestamp.matches("[0-9]{1,15}")) return false;
    if (Math.abs(now - Long.parseLong(timestamp)) > TOLERANCE) return false;
    PublicKey key = key(Base64.getDecoder().decode(publicKey.replaceFirst("^whpk_", "")));
    for (String field : headers.getOrDefault("webhook-signature", "").split(" ")) {
      if (!field.startsWith("v1a,")) continue;
      Signature verifier = Signature.getInstance("Ed25519");
      verifier.initVerify(key);
      verifier.update((id + "." + timestamp + ".").getBytes(StandardCharsets.UTF_8));
      verifier.update(body);
      try {
        if (verifier.verify(Base64.getDecoder().decode(field.substring(4)))) return true;
      } catch (IllegalArgumentException | SignatureException malformed) {
        continue; // not base64, or not as long as a signature is
      }
    }
    return false;
  }

  /** Java reads public keys in X.509's frame, which is the same for every Ed25519 key (RFC 8410). */
  private static PublicKey key(byte[] raw) throws GeneralSecurityException {
    ByteArrayOutputStream framed = new ByteArrayOutputStream();
    framed.writeBytes(HexFormat.of().parseHex("302a300506032b6570032100"));
    framed.writeBytes(raw);
    return KeyFactory.getInstance("Ed25519").generatePublic(new X509EncodedKeySpec(framed.toByteArray()));
  }
}
