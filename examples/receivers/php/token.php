<?php
// A secret in a header of the webhook's own, here X-Webhook-Token, for receivers that check no signature.

// $headers has lower-case names.
function verify_token(string $secret, array $headers): bool
{
    return hash_equals($secret, $headers['x-webhook-token'] ?? '');
}
