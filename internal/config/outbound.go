package config

import (
	"crypto/tls"
	"errors"
	"net/netip"
	"strconv"

	"github.com/sidehook/sidehook/internal/egress"
)

// Outbound bounds deliveries and says where they may go, and how.
type Outbound struct {
	// MaxInFlight bounds the attempts under way at once: 1 to 100000. Default 1024.
	MaxInFlight int `yaml:"max_in_flight"`
	// PerWebhook bounds those to one webhook: 1 to MaxInFlight. Default 64.
	PerWebhook int `yaml:"per_webhook"`
	// AllowLoopback lets deliveries go to this host. Default false.
	AllowLoopback bool `yaml:"allow_loopback"`
	// AllowPrivate lets them go to private networks (RFC 1918, RFC 4193). Default false.
	AllowPrivate bool `yaml:"allow_private"`
	// AllowCIDRs are networks that deliveries may go to although they would be refused. Default none.
	AllowCIDRs []string `yaml:"allow_cidrs"`
	// DenyCIDRs are networks that deliveries may not go to, whatever is allowed. Default none.
	DenyCIDRs []string `yaml:"deny_cidrs"`
	// CAFile has PEM certificates to trust besides those of the system. Default none.
	CAFile string `yaml:"ca_file"`
	// HTTP2 speaks HTTP/2 with https endpoints that choose it. Default true.
	HTTP2 bool `yaml:"http2"`
	// TLS says what is different for some hosts; the first entry that matches counts. At most 100. Default none.
	TLS []OutboundTLS `yaml:"tls"`
	// Proxy is what connections are made through; nil for none.
	Proxy *OutboundProxy `yaml:"proxy"`

	// AllowedPrefixes is AllowCIDRs, parsed.
	AllowedPrefixes []netip.Prefix `yaml:"-"`
	// DeniedPrefixes is DenyCIDRs, parsed.
	DeniedPrefixes []netip.Prefix `yaml:"-"`
}

// OutboundTLS is how TLS is spoken with some hosts. Its files are read again when they change.
type OutboundTLS struct {
	// Hosts are patterns for the host of the URL: api.example.com, *.example.com, 192.0.2.7, 10.0.0.0/8, *. Required.
	Hosts []string `yaml:"hosts"`
	// CAFile has the PEM certificates to trust, and no others. Default: those of the system and of Outbound.CAFile.
	CAFile string `yaml:"ca_file"`
	// CertFile and KeyFile are the client certificate (PEM), for mutual TLS. Default none; set both or neither.
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
	// MinVersion is "1.2" (default) or "1.3".
	MinVersion string `yaml:"min_version"`
}

// Version is MinVersion in the form of crypto/tls.
func (t *OutboundTLS) Version() uint16 {
	if t.MinVersion == tls13 {
		return tls.VersionTLS13
	}
	return tls.VersionTLS12
}

const tls12, tls13 = "1.2", "1.3"

// OutboundProxy is a host that connections to endpoints are made through.
type OutboundProxy struct {
	// URL of the proxy: http:// or https:// (HTTP CONNECT) or socks5://, with or without user:password@. Required.
	URL Secret `yaml:"url"`
	// NoProxy are the hosts that are reached without it: names as in the URL of a webhook, addresses and networks that
	// the connection would go to. Default none; loopback addresses are always among them.
	NoProxy []string `yaml:"no_proxy"`
}

const (
	maxTLSRules = 100
	maxHosts    = 1000
)

func (d *document) outbound(o *Outbound) {
	d.intRange("outbound.max_in_flight", o.MaxInFlight, 1, 100_000)
	if !d.troubled("outbound.max_in_flight") {
		d.intRange("outbound.per_webhook", o.PerWebhook, 1, o.MaxInFlight)
	}
	o.AllowedPrefixes = d.networks("outbound.allow_cidrs", o.AllowCIDRs)
	o.DeniedPrefixes = d.networks("outbound.deny_cidrs", o.DenyCIDRs)
	d.readable("outbound.ca_file", &o.CAFile)
	if len(o.TLS) > maxTLSRules {
		d.failAt("outbound.tls", "must be at most %d", maxTLSRules)
		return
	}
	for i := range o.TLS {
		if path := indexed("outbound.tls", i); !d.troubled(path) {
			d.outboundTLS(&o.TLS[i], path)
		}
	}
	if o.Proxy != nil {
		d.outboundProxy(o.Proxy)
	}
}

func (d *document) networks(path string, cidrs []string) (prefixes []netip.Prefix) {
	for i, cidr := range cidrs {
		at := indexed(path, i)
		prefix, err := netip.ParsePrefix(cidr)
		switch {
		case d.troubled(at):
		case err != nil:
			d.failAt(at, "%.60q is not a network such as 10.20.0.0/16", cidr)
		case prefix != prefix.Masked():
			d.failAt(at, "%s has bits beyond its length; did you mean %s?", cidr, prefix.Masked())
		default:
			prefixes = append(prefixes, prefix)
		}
	}
	return prefixes
}

func (d *document) outboundTLS(t *OutboundTLS, path string) {
	d.hosts(path+".hosts", t.Hosts)
	if len(t.Hosts) == 0 && !d.troubled(path+".hosts") {
		d.failAt(path+".hosts", "is required: the hosts that this is for, such as [\"*.example.com\"]")
	}
	d.readable(path+".ca_file", &t.CAFile)
	d.certificate(path, &t.CertFile, &t.KeyFile)
	if t.MinVersion == "" && !d.given(path+".min_version") {
		t.MinVersion = tls12
	}
	d.oneOf(path+".min_version", t.MinVersion, tls12, tls13)
	if t.CAFile == "" && t.CertFile == "" && t.MinVersion == tls12 && !d.troubled(path+".min_version") {
		d.warnAt(path, "changes nothing: it has neither ca_file, cert_file nor a min_version above 1.2")
	}
}

func (d *document) hosts(path string, patterns []string) {
	if len(patterns) > maxHosts {
		d.failAt(path, "must be at most %d", maxHosts)
		return
	}
	for i, p := range patterns {
		at := indexed(path, i)
		if _, err := egress.ParseHosts([]string{p}); err != nil && !d.troubled(at) {
			reason := err.Error()
			if pe := new(egress.PatternError); errors.As(err, &pe) {
				reason = pe.Reason
			}
			d.failAt(at, "%s", reason)
		}
	}
}

func (d *document) outboundProxy(p *OutboundProxy) {
	d.hosts("outbound.proxy.no_proxy", p.NoProxy)
	const path = "outbound.proxy.url"
	switch {
	case d.troubled(path):
	case p.URL.IsZero():
		d.failAt(path, "is required: the URL of the proxy, such as http://proxy.example.com:3128")
	default:
		at, err := egress.ParseProxy(p.URL.Reveal())
		switch {
		case err != nil:
			d.failAt(path, "%s", err)
		case at.Scheme == egress.HTTP && at.User != "" && !isLoopback(at.Host+":"+strconv.Itoa(int(at.Port))):
			d.warnAt(path, "sends its login in the clear; use https:// if the proxy speaks it")
		}
	}
}
