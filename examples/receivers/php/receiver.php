<?php
// A receiver: POST /standard, /standard-ed25519, /twenty, /hmac or /token. It answers 204 when the request is genuine and
// 401 when it is not. The secrets are in the environment. Run it with
//   php -S 127.0.0.1:8080 receiver.php

require __DIR__ . '/standard.php';
require __DIR__ . '/standard_ed25519.php';
require __DIR__ . '/twenty.php';
require __DIR__ . '/hmac.php';
require __DIR__ . '/token.php';

const MAX_BODY = 1 << 20;

function status(): int
{
    $routes = [
        '/standard' => fn ($headers, $body) => verify_standard(getenv('STANDARD_SECRET'), $headers, $body),
        '/standard-ed25519' => fn ($headers, $body) => verify_standard_ed25519(getenv('STANDARD_PUBLIC_KEY'), $headers, $body),
        '/twenty' => fn ($headers, $body) => verify_twenty(getenv('TWENTY_SECRET'), $headers, $body),
        '/hmac' => fn ($headers, $body) => verify_hmac(getenv('HMAC_SECRET'), $headers, $body),
        '/token' => fn ($headers, $body) => verify_token(getenv('TOKEN'), $headers),
    ];
    $verify = $routes[$_SERVER['REQUEST_URI']] ?? null;
    if ($_SERVER['REQUEST_METHOD'] !== 'POST' || $verify === null) {
        return 404;
    }
    $body = file_get_contents('php://input', length: MAX_BODY + 1);
    if (strlen($body) > MAX_BODY) {
        return 413;
    }
    return $verify(array_change_key_case(getallheaders()), $body) ? 204 : 401;
}

http_response_code(status());
