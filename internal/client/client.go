// Package client speaks the REST API of the control plane, for the commands of a terminal. It has no opinion on output
// and keeps no state; programs of users should use the OpenAPI document instead.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/sidehook/sidehook"
)

// DefaultServer is where a control plane listens unless told otherwise.
const DefaultServer = "http://127.0.0.1:4471"

const (
	defaultTimeout = 30 * time.Second
	maxAnswer      = 16 << 20 // bytes of an answer
	maxPages       = 10_000
	pageSize       = "200" // the most that the API gives at once
)

// Options of a Client.
type Options struct {
	// Server is the control plane's base URL. Default DefaultServer.
	Server string
	// Token to show (sht_…). Default none, which most of the API refuses.
	Token string
	// CAFile has PEM certificates to trust instead of the system's. Default none.
	CAFile string
	// UserAgent of the requests. Default "sidehook".
	UserAgent string
	// Timeout of one request. Default 30 s.
	Timeout time.Duration
}

// Client talks to one control plane. Its methods may be called concurrently.
type Client struct {
	base      *url.URL
	token     string
	userAgent string
	http      *http.Client
}

// New makes a client; it connects to nothing. Its errors are *sidehook.FieldError on the option that is wrong, or from
// reading CAFile.
func New(o Options) (*Client, error) {
	if o.Server == "" {
		o.Server = DefaultServer
	}
	if o.UserAgent == "" {
		o.UserAgent = "sidehook"
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	base, err := parseServer(o.Server)
	if err != nil {
		return nil, err
	}
	if strings.ContainsFunc(o.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, sidehook.Fieldf("token", "must be one word of ASCII")
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if o.CAFile != "" {
		if transport.TLSClientConfig, err = trusting(o.CAFile); err != nil {
			return nil, err
		}
	}
	return &Client{
		base: base, token: o.Token, userAgent: o.UserAgent,
		http: &http.Client{
			Transport: transport, Timeout: o.Timeout,
			// A redirect could carry the token to somewhere else, and the API has none.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

func parseServer(server string) (*url.URL, error) {
	u, err := url.Parse(server)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return nil, sidehook.Fieldf("server", "%.80q is not a URL such as %s", server, DefaultServer)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, sidehook.Fieldf("server", "must have no user, query or fragment")
	}
	return u, nil
}

func trusting(caFile string) (*tls.Config, error) {
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("cannot read the certificates to trust: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, sidehook.Fieldf("ca-file", "%s has no PEM certificate", caFile)
	}
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, nil
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Server returns the base URL.
func (c *Client) Server() string { return c.base.String() }

// Exposed reports whether the token travels unencrypted to another host.
func (c *Client) Exposed() bool {
	return c.token != "" && c.base.Scheme == "http" && !Loopback(c.base.Hostname())
}

// Loopback reports whether a host is this one.
func Loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// do sends a request and decodes the answer into out, unless one of the two is nil. segments are names, except for the
// fixed words of the API; query may be nil.
func (c *Client) do(ctx context.Context, method string, segments []string, query url.Values, in, out any) error {
	u := c.at(segments)
	u.RawQuery = query.Encode()
	var body io.Reader
	if in != nil {
		b, err := encode(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return fmt.Errorf("make the request: %w", err)
	}
	req.Header.Set("Accept", "application/json, application/problem+json")
	req.Header.Set("User-Agent", c.userAgent)
	if in != nil {
		contentType := "application/json"
		if method == http.MethodPatch {
			contentType = "application/merge-patch+json"
		}
		req.Header.Set("Content-Type", contentType)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.unreachable(ctx, err)
	}
	return c.answer(resp, out)
}

// at is the URL of segments under /v1. A slash in a segment is escaped, so that it does not start another.
func (c *Client) at(segments []string) *url.URL {
	u := *c.base
	escaped := make([]string, len(segments))
	for i, s := range segments {
		escaped[i] = url.PathEscape(s)
	}
	u.RawPath = strings.TrimSuffix(c.base.EscapedPath(), "/") + "/v1/" + strings.Join(escaped, "/")
	u.Path = strings.TrimSuffix(u.Path, "/") + "/v1/" + strings.Join(segments, "/")
	return &u
}

// encode marshals without escaping <, > and &: the JSON that people give is to arrive as it is.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode the request: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func (c *Client) answer(resp *http.Response, out any) (err error) {
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", c.base, err)
	}
	if len(body) > maxAnswer {
		return fmt.Errorf("the answer of %s is over %d bytes: %w", c.base, maxAnswer, sidehook.ErrTooLarge)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return newProblem(resp, body)
	}
	if out == nil {
		return nil
	}
	if media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); media != "application/json" {
		return fmt.Errorf("%s does not answer as a control plane does: content type %.60q instead of JSON", c.base, media)
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("%s does not answer as a control plane does: %w", c.base, err)
	}
	return nil
}

// unreachable words the error of a request that got no answer.
func (c *Client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("ask %s: %w", c.base, context.Cause(ctx))
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err // the method and URL add nothing for people
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return &UnreachableError{Server: c.base.String(), Err: err}
	}
	return fmt.Errorf("ask %s: %w", c.base, err)
}

// UnreachableError says that nothing answers at the server's address.
type UnreachableError struct {
	Server string
	Err    error
}

func (e *UnreachableError) Error() string {
	return "no control plane answers at " + e.Server + ": " + e.Err.Error()
}

func (e *UnreachableError) Unwrap() error { return e.Err }

// page is a list as the API gives it.
type page[T any] struct {
	Data       []T    `json:"data"`
	NextCursor string `json:"next_cursor,omitempty"`
}

// all reads a whole list, page by page.
func all[T any](ctx context.Context, c *Client, segments ...string) ([]T, error) {
	return allOf[T](ctx, c, url.Values{}, segments...)
}

// allOf is all with a query that selects.
func allOf[T any](ctx context.Context, c *Client, query url.Values, segments ...string) ([]T, error) {
	items := []T{}
	query.Set("limit", pageSize)
	for range maxPages {
		var p page[T]
		if err := c.do(ctx, http.MethodGet, segments, query, nil, &p); err != nil {
			return nil, err
		}
		items = append(items, p.Data...)
		if p.NextCursor == "" || p.NextCursor == query.Get("cursor") {
			return items, nil
		}
		query.Set("cursor", p.NextCursor)
	}
	return nil, fmt.Errorf("the list of %s does not end after %d pages", c.base, maxPages)
}

// names checks ids before they become part of a path: "..", "a/b" and the like would lead elsewhere.
func names(pairs ...string) error {
	for i := 0; i+1 < len(pairs); i += 2 {
		if !sidehook.ValidName(pairs[i+1]) {
			return sidehook.Fieldf(pairs[i], "%.60q is not an id: it must be 1 to %d of A-Z a-z 0-9 _ -", pairs[i+1],
				sidehook.MaxNameLen)
		}
	}
	return nil
}
