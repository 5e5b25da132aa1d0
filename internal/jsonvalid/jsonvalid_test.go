package jsonvalid

import (
	"encoding/json"
	"strings"
	"testing"
)

var jsonSeeds = []string{
	``, ` `, `{}`, `[]`, `{"a":1}`, `{"a":1,}`, `[1,]`, `[,1]`, `{,}`, `{"a"}`, `{"a":}`, `{1:2}`, `[1 2]`, `{"a":1 "b":2}`,
	`"x"`, `"x`, `"\u12"`, `"\u12G4"`, `"\u1234"`, `"\x"`, "\"\x01\"", "\"\x1f234567\"", "\"1234567\x00\"", `"\"`, `"\\"`, `"12345678\"`,
	"\"\xff\xfe\"", `"1234567é"`, `-`, `-0`, `01`, `1.`, `1.5`, `.5`, `1e`, `1e+`, `1E-3`, `1e5x`, `--1`, `+1`, `true`, `tru`,
	`truex`, `nul`, `null`, `false `, "\ufeff{}", `{}{}`, `[[[[]]]]`, `[[[]`, `]`, `}`, `{]`, `[}`, `[{"a":[{}]},{"b":[[],null]}]`,
	` { "a" : [ 1 , 2.5e10 , "b\n" ] , "c" : { } } `, `{"a":1,"a":2}`, "[1]\v", `"`, `{"":""}`, `[0,-0,10,1e1]`,
}

func TestAgreesWithEncodingJSON(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, s := range append(jsonSeeds, deep(64), deep(65), deep(10000), deep(10001), strings.Repeat(`{"a":`, 70)) {
		if got, want := Valid([]byte(s)), json.Valid([]byte(s)); got != want {
			t.Errorf("Valid(%.60q) = %v, json.Valid says %v", s, got, want)
		}
	}
}

func FuzzValid(f *testing.F) {
	for _, s := range jsonSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, want := Valid(b), json.Valid(b); got != want {
			t.Fatalf("Valid(%q) = %v, json.Valid says %v", b, got, want)
		}
	})
}

var payload1K = []byte(`{"id":"evt_01","type":"livestream.channel.live","viewers":1204,"tags":["a","b","c"],"nested":{"ok":true,"none":null,"rate":29.97},"text":"` +
	strings.Repeat("Xin chào, kênh đã lên sóng. ", 26) + `"}`)

func BenchmarkValid(b *testing.B) {
	b.Run("ours", func(b *testing.B) {
		b.SetBytes(int64(len(payload1K)))
		for b.Loop() {
			Valid(payload1K)
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.SetBytes(int64(len(payload1K)))
		for b.Loop() {
			json.Valid(payload1K)
		}
	})
}
