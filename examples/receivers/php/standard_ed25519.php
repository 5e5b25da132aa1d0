<?php
// Standard Webhooks, v1a: Ed25519. The receiver has the public key whpk_… alone, which is no secret.

const STANDARD_ED25519_TOLERANCE = 5 * 60; // seconds

// $headers has lower-case names, $body is the bytes as they came (file_get_contents('php://input')), $now is in seconds.
function verify_standard_ed25519(string $publicKey, array $headers, string $body, ?float $now = null): bool
{
    $id = $headers['webhook-id'] ?? '';
    $timestamp = $headers['webhook-timestamp'] ?? '';
    if ($id === '' || !preg_match('/^\d{1,15}$/D', $timestamp)) {
        return false;
    }
    if (abs(($now ?? microtime(true)) - (int) $timestamp) > STANDARD_ED25519_TOLERANCE) {
        return false;
    }
    $key = base64_decode(preg_replace('/^whpk_/', '', $publicKey));
    foreach (explode(' ', $headers['webhook-signature'] ?? '') as $field) {
        $signature = str_starts_with($field, 'v1a,') ? base64_decode(substr($field, 4)) : '';
        if (strlen($signature) === SODIUM_CRYPTO_SIGN_BYTES
            && sodium_crypto_sign_verify_detached($signature, "$id.$timestamp.$body", $key)) {
            return true;
        }
    }
    return false;
}
