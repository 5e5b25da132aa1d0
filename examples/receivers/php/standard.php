<?php
// Standard Webhooks, v1: HMAC-SHA256 with a secret whsec_… that sender and receiver share.

const STANDARD_TOLERANCE = 5 * 60; // seconds

// $headers has lower-case names, $body is the bytes as they came (file_get_contents('php://input')), $now is in seconds.
function verify_standard(string $secret, array $headers, string $body, ?float $now = null): bool
{
    $id = $headers['webhook-id'] ?? '';
    $timestamp = $headers['webhook-timestamp'] ?? '';
    if ($id === '' || !preg_match('/^\d{1,15}$/D', $timestamp)) {
        return false;
    }
    if (abs(($now ?? microtime(true)) - (int) $timestamp) > STANDARD_TOLERANCE) {
        return false;
    }
    $key = base64_decode(preg_replace('/^whsec_/', '', $secret));
    $expected = 'v1,' . base64_encode(hash_hmac('sha256', "$id.$timestamp.$body", $key, true));
    // While a secret rotates there are several signatures, separated by spaces. One that holds is enough.
    foreach (explode(' ', $headers['webhook-signature'] ?? '') as $signature) {
        if (hash_equals($expected, $signature)) {
            return true;
        }
    }
    return false;
}
