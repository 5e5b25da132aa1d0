<?php
// The scheme hmac of a webhook whose signing is
//   {"scheme": "hmac", "header": "X-Signature", "prefix": "v0=", "template": "v0:{timestamp}:{body}",
//    "timestamp_header": "X-Signature-Timestamp"}

const HMAC_TOLERANCE = 5 * 60; // seconds

// $headers has lower-case names, $body is the bytes as they came (file_get_contents('php://input')), $now is in seconds.
function verify_hmac(string $secret, array $headers, string $body, ?float $now = null): bool
{
    $timestamp = $headers['x-signature-timestamp'] ?? '';
    if (!preg_match('/^\d{1,15}$/D', $timestamp)) {
        return false;
    }
    if (abs(($now ?? microtime(true)) - (int) $timestamp) > HMAC_TOLERANCE) {
        return false;
    }
    $expected = 'v0=' . hash_hmac('sha256', "v0:$timestamp:$body", $secret);
    return hash_equals($expected, $headers['x-signature'] ?? '');
}
