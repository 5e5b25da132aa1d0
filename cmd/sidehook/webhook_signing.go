package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/internal/client"
)

// signingFlags are how requests are signed, as flags. They replace what the webhook has as a whole.
type signingFlags struct{ client.Signing }

func (f *signingFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.Scheme, "signing-scheme", "",
		"how requests are signed: "+strings.Join(sidehook.Schemes(), ", ")+`, or "default" for what the format says`)
	for _, name := range hmacFlags {
		flags.StringVar(f.hmac(name), name, "", hmacUsage[name])
	}
	complete := func(flag string, values ...string) {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
	complete("signing-scheme", append(sidehook.Schemes(), "default")...)
	complete("signing-algorithm", sidehook.AlgorithmSHA256, sidehook.AlgorithmSHA512)
	complete("signing-encoding", sidehook.EncodingHex, sidehook.EncodingBase64)
}

// hmacFlags are the flags of the scheme hmac alone.
var hmacFlags = []string{
	"signing-algorithm", "signing-encoding", "signing-header", "signing-prefix", "signing-template",
	"signing-timestamp-header",
}

var hmacUsage = map[string]string{
	"signing-algorithm":        "with hmac: sha256 or sha512 (default sha256)",
	"signing-encoding":         "with hmac: hex or base64 (default hex)",
	"signing-header":           "with hmac: name of the header that carries the signature",
	"signing-prefix":           `with hmac: what stands before the signature, such as "sha256="`,
	"signing-template":         "with hmac: the text that is signed, such as {timestamp}.{body}; also {id} and {timestamp_ms} (default {body})",
	"signing-timestamp-header": "with hmac: name of a header that carries the timestamp",
}

func (f *signingFlags) hmac(flag string) *string {
	return map[string]*string{
		"signing-algorithm": &f.Algorithm, "signing-encoding": &f.Encoding, "signing-header": &f.Header,
		"signing-prefix": &f.Prefix, "signing-template": &f.Template, "signing-timestamp-header": &f.TimestampHeader,
	}[flag]
}

// read gives what the flags set, nil for nothing and a nil pointer for the default.
func (f *signingFlags) read(cmd *cobra.Command) (**client.Signing, error) {
	changed := cmd.Flags().Changed
	for _, flag := range hmacFlags {
		if changed(flag) && f.Scheme != sidehook.SchemeHMAC {
			return nil, usagef(cmd, "--%s needs --signing-scheme %s: the settings of signing are replaced together", flag,
				sidehook.SchemeHMAC)
		}
	}
	if !changed("signing-scheme") {
		return nil, nil
	}
	var signing *client.Signing
	if f.Scheme != "default" {
		signing = &f.Signing
	}
	return &signing, nil
}

// describeSigning is a line for people.
func describeSigning(s client.Signing) string {
	if s.Scheme != sidehook.SchemeHMAC {
		return s.Scheme
	}
	line := fmt.Sprintf("%s %s of %s as %s in %s", s.Scheme, s.Algorithm, s.Template, s.Encoding, s.Header)
	if s.Prefix != "" {
		line += " after " + s.Prefix
	}
	if s.TimestampHeader != "" {
		line += ", timestamp in " + s.TimestampHeader
	}
	return line
}

// maxSecretFile bounds a file with a secret, in bytes.
const maxSecretFile = 4 << 10

func registerSecretFile(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "secret-file", "",
		"file with the secret that the receiver has already, - for the standard input: whsec_…, whsk_…, or plain text with twenty and hmac")
}

// readSecret reads the secret of --secret-file; empty when the flag is not given. A secret is no value of a flag, since
// other users of the machine can read those.
func readSecret(cmd *cobra.Command, file string, stdin io.Reader) (string, error) {
	if !cmd.Flags().Changed("secret-file") {
		return "", nil
	}
	in := stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", fmt.Errorf("cannot read the secret: %w", err)
		}
		defer func() { _ = f.Close() }() // it is only read
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxSecretFile+1))
	if err != nil {
		return "", fmt.Errorf("cannot read the secret: %w", err)
	}
	secret := strings.TrimSpace(string(text))
	switch {
	case len(text) > maxSecretFile:
		return "", fmt.Errorf("cannot read the secret: the file is over %d bytes", maxSecretFile)
	case secret == "":
		return "", errors.New("cannot read the secret: the file is empty")
	}
	return secret, nil
}
