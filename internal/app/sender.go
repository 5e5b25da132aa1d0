package app

import (
	"errors"
	"fmt"

	"github.com/sidehook/sidehook/internal/config"
	"github.com/sidehook/sidehook/outbound/send"
)

// senderOptions turns the configuration of the way out into the client's options.
func senderOptions(o *config.Outbound) (send.Options, error) {
	opts := send.Options{
		Guard: send.NewGuard(send.GuardOptions{
			AllowLoopback: o.AllowLoopback, AllowPrivate: o.AllowPrivate, Allow: o.AllowedPrefixes, Deny: o.DeniedPrefixes,
		}),
		HTTP2: o.HTTP2,
		// Many webhooks may share a host, and with fewer places every other request would make a connection of its own.
		// What a burst leaves ages out.
		MaxIdlePerHost: o.MaxInFlight,
	}
	var err error
	if opts.TLSRules, err = send.LoadTLS(tlsRules(o)); err != nil {
		if rule := new(send.RuleError); errors.As(err, &rule) && rule.Index == len(o.TLS) {
			return opts, fmt.Errorf("outbound.ca_file: %w", rule.Err)
		}
		return opts, fmt.Errorf("outbound.tls%w", err)
	}
	if o.Proxy != nil {
		if opts.Proxy, err = send.ParseProxy(o.Proxy.URL.Reveal(), o.Proxy.NoProxy); err != nil {
			return opts, fmt.Errorf("outbound.proxy: %w", err)
		}
	}
	return opts, nil
}

// tlsRules are those of the configuration and, last, the one for all other hosts.
func tlsRules(o *config.Outbound) []send.TLSRule {
	rules := make([]send.TLSRule, 0, len(o.TLS)+1)
	for i := range o.TLS {
		t := &o.TLS[i]
		rule := send.TLSRule{
			Hosts: t.Hosts, CAFile: t.CAFile, CertFile: t.CertFile, KeyFile: t.KeyFile, MinVersion: t.Version(),
		}
		if rule.CAFile == "" {
			rule.CAFile, rule.SystemRoots = o.CAFile, true
		}
		rules = append(rules, rule)
	}
	if o.CAFile != "" {
		rules = append(rules, send.TLSRule{Hosts: []string{"*"}, CAFile: o.CAFile, SystemRoots: true})
	}
	return rules
}
