#!/usr/bin/env node
// A Sidehook transformer in Node: it delivers the values of JSON strings in capital letters. serve.mjs is what every
// transformer in Node needs; this file is what makes it this one.

import { serve } from './serve.mjs';

/** upper copies a JSON value with every string in capitals; keys and all else stay. */
function upper(value) {
  if (typeof value === 'string') return value.toUpperCase();
  if (Array.isArray(value)) return value.map(upper);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, upper(v)]));
}

/**
 * transform answers one item: { rewritten }, { drop } or { failure }; see transform.proto. What it throws becomes a
 * failure. event.data is a Buffer.
 */
function transform({ event }) {
  if (event.type.startsWith('internal.')) return { drop: { reason: 'internal events stay inside' } };
  if (event.data.length === 0) return { rewritten: { data: event.data } };
  const value = JSON.parse(event.data); // throws for data that is not JSON
  return {
    rewritten: { data: Buffer.from(JSON.stringify(upper(value))), headers: { 'X-Uppercase': 'yes' } },
  };
}

serve({ name: 'node-uppercase', version: '1.0.0', description: 'Delivers JSON strings in capital letters.' }, transform);
