// A receiver: POST /standard, /standard-ed25519, /twenty, /hmac or /token. It answers 204 when the request is genuine and
// 401 when it is not. The secrets are in the environment. Run it with
//   javac -d out *.java && java -cp out Receiver
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.security.GeneralSecurityException;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;

final class Receiver {
  private static final int MAX_BODY = 1 << 20;

  public static void main(String[] args) throws IOException {
    int port = Integer.parseInt(System.getenv().getOrDefault("PORT", "0"));
    HttpServer server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), port), 0);
    server.createContext("/", exchange -> {
      try (exchange) {
        exchange.sendResponseHeaders(status(exchange), -1);
      }
    });
    server.start();
    System.out.println("listening http://127.0.0.1:" + server.getAddress().getPort());
  }

  private static int status(HttpExchange exchange) throws IOException {
    if (!exchange.getRequestMethod().equals("POST")) return 404;
    byte[] body = exchange.getRequestBody().readNBytes(MAX_BODY + 1);
    if (body.length > MAX_BODY) return 413;
    Map<String, String> headers = new HashMap<>();
    exchange.getRequestHeaders().forEach((name, values) -> headers.put(name.toLowerCase(Locale.ROOT), values.get(0)));
    long now = System.currentTimeMillis() / 1000;
    try {
      boolean holds;
      switch (exchange.getRequestURI().getPath()) {
        case "/standard" -> holds = Standard.verify(secret("STANDARD_SECRET"), headers, body, now);
        case "/standard-ed25519" -> holds = StandardEd25519.verify(secret("STANDARD_PUBLIC_KEY"), headers, body, now);
        case "/twenty" -> holds = Twenty.verify(secret("TWENTY_SECRET"), headers, body, now);
        case "/hmac" -> holds = Hmac.verify(secret("HMAC_SECRET"), headers, body, now);
        case "/token" -> holds = Token.verify(secret("TOKEN"), headers);
        default -> {
          return 404;
        }
      }
      return holds ? 204 : 401;
    } catch (GeneralSecurityException e) {
      return 500; // a key that is none, or an algorithm that this Java does not have
    }
  }

  private static String secret(String name) {
    String value = System.getenv(name);
    if (value == null) throw new IllegalStateException(name + " is not set");
    return value;
  }
}
