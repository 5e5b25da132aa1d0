<?php
// Twenty: hex HMAC-SHA256 over timestamp:body. The timestamp is in milliseconds.

const TWENTY_TOLERANCE = 5 * 60; // seconds

// $headers has lower-case names, $body is the bytes as they came (file_get_contents('php://input')), $now is in seconds.
function verify_twenty(string $secret, array $headers, string $body, ?float $now = null): bool
{
    $timestamp = $headers['x-twenty-webhook-timestamp'] ?? '';
    if (!preg_match('/^\d{1,15}$/D', $timestamp)) {
        return false;
    }
    if (abs(($now ?? microtime(true)) - (int) $timestamp / 1000) > TWENTY_TOLERANCE) {
        return false;
    }
    $expected = hash_hmac('sha256', "$timestamp:$body", $secret);
    return hash_equals($expected, $headers['x-twenty-webhook-signature'] ?? '');
}
