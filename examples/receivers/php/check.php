<?php
// Checks the receivers against ../vectors.tsv: php check.php

require __DIR__ . '/standard.php';
require __DIR__ . '/standard_ed25519.php';
require __DIR__ . '/twenty.php';
require __DIR__ . '/hmac.php';
require __DIR__ . '/token.php';

$verifiers = [
    'standard' => 'verify_standard',
    'standard-ed25519' => 'verify_standard_ed25519',
    'twenty' => 'verify_twenty',
    'hmac' => 'verify_hmac',
    'token' => fn ($secret, $headers, $body, $now) => verify_token($secret, $headers),
];
$checked = $failed = 0;
foreach (explode("\n", file_get_contents(__DIR__ . '/../vectors.tsv')) as $line) {
    if ($line === '' || $line[0] === '#') {
        continue;
    }
    [$what, $scheme, $want, $now, $secret, $fields, $body] = explode("\t", $line);
    $headers = [];
    foreach (array_filter(explode('|', $fields)) as $field) {
        [$name, $value] = explode('=', $field, 2);
        $headers[$name] = $value;
    }
    $got = $verifiers[$scheme]($secret, $headers, $body, (int) $now / 1000);
    if ($got !== ($want === 'holds')) {
        echo "$scheme, $what: ", $got ? 'holds' : 'is refused', "\n";
        $failed++;
    }
    $checked++;
}
echo "$checked vectors checked\n";
exit($failed ? 1 : 0);
