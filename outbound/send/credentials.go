package send

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/sidehook/sidehook/internal/egress"
)

// TLSRule says how TLS is spoken with some hosts. Files are PEM.
type TLSRule struct {
	// Hosts are the patterns that the rule is for: api.example.com, *.example.com, 192.0.2.7, 10.0.0.0/8, *. They are
	// compared with the host of the URL, not with the addresses that it resolves to.
	Hosts []string
	// CAFile has the certificates to trust; "" for those of the system.
	CAFile string
	// SystemRoots trusts those of the system besides CAFile.
	SystemRoots bool
	// CertFile and KeyFile are the client certificate to show when the receiver asks for one; "" for none.
	CertFile, KeyFile string
	// MinVersion is the least version, tls.VersionTLS12 or tls.VersionTLS13; 0 for TLS 1.2.
	MinVersion uint16
}

// TLSRules are rules with the files that they name. The first that matches a host counts. They are safe for concurrent
// use.
type TLSRules struct {
	rules []*tlsRule
}

type tlsRule struct {
	TLSRule
	hosts egress.Hosts
	now   atomic.Pointer[credentials]
}

// credentials are what the files of a rule held when they were read. Connections that were made with credentials which
// have been replaced are not used again: a certificate that is not trusted any more must not live on in them.
type credentials struct {
	cfg      *tls.Config
	sum      [sha256.Size]byte
	replaced atomic.Bool
}

// maxCredentialFile bounds a file; the certificates of all public authorities are a quarter of it.
const maxCredentialFile = 1 << 20

// RuleError says which rule cannot be used, counted from 0, and which of its fields is to blame.
type RuleError struct {
	Index int
	Field string // "hosts", "ca_file", "cert_file" or "min_version"
	Err   error
}

func (e *RuleError) Error() string { return fmt.Sprintf("[%d].%s: %v", e.Index, e.Field, e.Err) }

func (e *RuleError) Unwrap() error { return e.Err }

// LoadTLS reads the files of rules. Errors are *RuleError.
func LoadTLS(rules []TLSRule) (*TLSRules, error) {
	all := &TLSRules{}
	for i := range rules {
		r := &tlsRule{TLSRule: rules[i]}
		hosts, err := egress.ParseHosts(r.Hosts)
		if err != nil {
			return nil, &RuleError{i, "hosts", err}
		}
		if r.MinVersion > tls.VersionTLS13 || r.MinVersion != 0 && r.MinVersion < tls.VersionTLS12 {
			return nil, &RuleError{i, "min_version", errors.New("is neither TLS 1.2 nor TLS 1.3")}
		}
		r.hosts = hosts
		creds, field, err := r.load()
		if err != nil {
			return nil, &RuleError{i, field, err}
		}
		r.now.Store(creds)
		all.rules = append(all.rules, r)
	}
	return all, nil
}

// Reload reads the files again and reports whether any had changed. What cannot be read or used leaves the rule as it
// was; err joins a *RuleError for each.
func (rs *TLSRules) Reload() (changed bool, err error) {
	if rs == nil {
		return false, nil
	}
	var errs []error
	for i, r := range rs.rules {
		creds, field, err := r.load()
		if err != nil {
			errs = append(errs, &RuleError{i, field, err})
			continue
		}
		if old := r.now.Load(); old.sum != creds.sum {
			r.now.Store(creds) // first the new ones, so that nobody takes replaced ones for a new connection
			old.replaced.Store(true)
			changed = true
		}
	}
	return changed, errors.Join(errs...)
}

// find returns the credentials for a host; nil when no rule is for it.
func (rs *TLSRules) find(host string) *credentials {
	if rs == nil {
		return nil
	}
	for _, r := range rs.rules {
		if r.hosts.MatchName(host) {
			return r.now.Load()
		}
	}
	return nil
}

// load reads the files; field names the one that is to blame for an error.
func (r *tlsRule) load() (_ *credentials, field string, err error) {
	cfg := &tls.Config{MinVersion: r.MinVersion}
	sum := sha256.New()
	if r.CAFile != "" {
		pem, err := readSmall(r.CAFile)
		if err != nil {
			return nil, "ca_file", err
		}
		if cfg.RootCAs, err = r.roots(pem); err != nil {
			return nil, "ca_file", err
		}
		_, _ = fmt.Fprintf(sum, "%d %s", len(pem), pem)
	}
	if r.CertFile != "" {
		cert, err := readSmall(r.CertFile)
		if err != nil {
			return nil, "cert_file", err
		}
		key, err := readSmall(r.KeyFile)
		if err != nil {
			return nil, "key_file", err
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, "cert_file", fmt.Errorf("%s and %s are no certificate with its key: %w", r.CertFile, r.KeyFile, err)
		}
		cfg.Certificates = []tls.Certificate{pair}
		_, _ = fmt.Fprintf(sum, "%d %s%d %s", len(cert), cert, len(key), key)
	}
	creds := &credentials{cfg: baseTLS(cfg)}
	sum.Sum(creds.sum[:0])
	return creds, "", nil
}

func (r *tlsRule) roots(pem []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if r.SystemRoots {
		if system, err := x509.SystemCertPool(); err == nil { // without one there is nothing to add
			pool = system
		}
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no PEM certificate", r.CAFile)
	}
	return pool, nil
}

func readSmall(path string) (b []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b, err = io.ReadAll(io.LimitReader(f, maxCredentialFile+1))
	if err == nil && len(b) > maxCredentialFile {
		err = fmt.Errorf("%s is over 1 MiB", path)
	}
	return b, err
}
