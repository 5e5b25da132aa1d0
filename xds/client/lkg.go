package client

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sidehook/sidehook/xds"
)

// The last-known-good file: lkgMagic; a byte that says how the rest is kept ('c': its SHA-256 and then clear text, 'e':
// AES-256-GCM, a nonce and then the ciphertext; clear text is read even with a key, and written encrypted); the text is a row of envoy.service.discovery.v3.Resource, each with its
// length before it.
const (
	lkgMagic   = "sidehook-lkg/1\n"
	lkgClear   = 'c'
	lkgSealed  = 'e'
	lkgMaxSize = 1 << 30
	lkgRetry   = 10 * time.Second
	lkgShare   = 20 // of the time it may take one part to write it
)

// errCorrupt: the file is not what was written.
var errCorrupt = errors.New("the last-known-good file is damaged")

// loadLKG applies the last-known-good configuration. A file that cannot be understood is put aside, and the sidecar
// starts without.
func (c *Client) loadLKG(now time.Time) {
	path := c.opts.LKGPath
	if path == "" {
		return
	}
	saved, err := readLKG(path, c.opts.LKGKey)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return
	case errors.Is(err, errCorrupt):
		aside := path + ".corrupt-" + now.UTC().Format("20060102T150405Z")
		if renameErr := os.Rename(path, aside); renameErr != nil {
			err = errors.Join(err, renameErr)
		}
		c.log.Error("starting without last-known-good configuration", "error", err, "aside", aside)
		c.note(func(s *stats) { s.lkgError = err.Error() })
		return
	case err != nil:
		c.log.Error("starting without last-known-good configuration", "error", err)
		c.note(func(s *stats) { s.lkgError = err.Error() })
		return
	}
	c.mu.Lock()
	for _, r := range saved {
		parsed, err := xds.Parse(r.GetName(), r.GetResource())
		if err == nil {
			err = c.opts.Check(parsed)
		}
		if err != nil {
			c.log.Warn("a resource of the last-known-good configuration is refused", "resource", r.GetName(), "error", err)
			if ts := c.state.types[r.GetResource().GetTypeUrl()]; ts != nil {
				ts.entries[r.GetName()] = &entry{refused: &refusal{version: r.GetVersion(), reason: err.Error(), at: now}}
			}
			continue
		}
		c.state.stage(r.GetName(), &staged{typeURL: parsed.TypeURL, resource: parsed, version: r.GetVersion()})
	}
	snapshot := c.state.builder.Build()
	snapshot.Stale = true
	c.mu.Unlock()

	err = c.opts.Apply(snapshot)

	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.state.rollback()
		c.stats.lkgError = err.Error()
		c.log.Error("the last-known-good configuration could not be applied", "error", err)
		return
	}
	c.state.commit(snapshot, now)
	c.stats.appliedAt = now
	if len(c.opts.LKGKey) != 0 { // it may have been written before there was a key
		c.dirty <- struct{}{}
	}
	c.log.Info("last-known-good configuration applied", "version", snapshot.Version, "resources", len(saved))
}

// keepLKG writes the file when it is out of date, and a last time when ctx ends: at most once per LKGDelay, and with so
// much configuration that it takes long, for no more than a twentieth of the time.
func (c *Client) keepLKG(ctx context.Context) {
	delay := c.opts.LKGDelay
	for {
		select {
		case <-c.dirty:
		case <-ctx.Done():
			select {
			case <-c.dirty:
				c.saveLKG()
			default:
			}
			return
		}
		for {
			timer := time.NewTimer(delay)
			select {
			case <-timer.C:
			case <-ctx.Done():
			}
			timer.Stop()
			began := time.Now()
			ok := c.saveLKG()
			delay = max(c.opts.LKGDelay, lkgShare*time.Since(began))
			if ok {
				break
			}
			if ctx.Err() != nil {
				return
			}
			delay = max(delay, lkgRetry)
		}
	}
}

// saveLKG writes what is live, and reports success.
func (c *Client) saveLKG() bool {
	if c.opts.LKGPath == "" {
		return true
	}
	err := writeLKG(c.opts.LKGPath, c.opts.LKGKey, c.live())
	c.note(func(s *stats) {
		if s.lkgError = ""; err != nil {
			s.lkgError = err.Error()
		} else {
			s.lkgSavedAt = time.Now()
		}
	})
	if err != nil {
		c.log.Error("the last-known-good configuration could not be written", "error", err)
	}
	return err == nil
}

// live is what is live now, in its wire form. Each is good until the next one.
func (c *Client) live() iter.Seq[*discovery.Resource] {
	type liveResource struct {
		name, version string
		resource      *xds.Resource
	}
	var all []liveResource
	c.mu.Lock()
	for _, typeURL := range xds.Types {
		for name, e := range c.state.types[typeURL].entries {
			if e.resource != nil {
				all = append(all, liveResource{name, e.version, e.resource})
			}
		}
	}
	c.mu.Unlock()
	return func(yield func(*discovery.Resource) bool) {
		r := &discovery.Resource{Resource: new(anypb.Any)} // one for all: there may be a hundred thousand
		for _, l := range all {
			body, err := l.resource.Wire()
			if err != nil {
				continue // never: it was parsed from its wire form
			}
			r.Name, r.Version, r.Resource.TypeUrl, r.Resource.Value = l.name, l.version, l.resource.TypeURL, body
			if !yield(r) {
				return
			}
		}
	}
}

// writeLKG puts a file with these resources in place of the one at path. It goes through them twice.
func writeLKG(path string, key []byte, saved iter.Seq[*discovery.Resource]) error {
	kind, front, behind := byte(lkgClear), sha256.Size, 0 // what stands before the text, and behind it
	var aead cipher.AEAD
	if len(key) != 0 {
		var err error
		if aead, err = newAEAD(key); err != nil {
			return err
		}
		kind, front, behind = lkgSealed, aead.NonceSize(), aead.Overhead()
	}
	start := len(lkgMagic) + 1 + front
	size := start + behind
	for r := range saved {
		size += protowire.SizeBytes(proto.Size(r))
	}
	file := append(append(make([]byte, 0, size), lkgMagic...), kind)
	file = file[:start]
	for r := range saved { // as protodelim.MarshalTo does, which allocates each of them
		var err error
		file = protowire.AppendVarint(file, uint64(proto.Size(r)))
		if file, err = (proto.MarshalOptions{UseCachedSize: true}).MarshalAppend(file, r); err != nil {
			return fmt.Errorf("last-known-good: %w", err)
		}
	}
	head, text := file[start-front:start], file[start:]
	if aead == nil {
		sum := sha256.Sum256(text)
		copy(head, sum[:])
	} else {
		_, _ = rand.Read(head)                                       // documented never to fail
		file = aead.Seal(file[:start], head, text, []byte(lkgMagic)) // in place
	}
	return replaceFile(path, file)
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("last-known-good key: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("last-known-good key: %w", err)
	}
	return aead, nil
}

// replaceFile puts data in place of the file at once: after a crash there is either the old or the new.
func replaceFile(path string, data []byte) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("last-known-good: %w", err)
		}
	}()
	temp := path + ".tmp" // one writer per file, so one name: a crash leaves no more than one behind
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func readLKG(path string, key []byte) ([]*discovery.Resource, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("last-known-good: %w", err)
	}
	if info.Size() > lkgMaxSize {
		return nil, fmt.Errorf("%w: %d bytes", errCorrupt, info.Size())
	}
	file, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("last-known-good: %w", err)
	}
	text, err := openLKG(file, key)
	if err != nil {
		return nil, err
	}
	var saved []*discovery.Resource
	reader := bytes.NewReader(text)
	limits := protodelim.UnmarshalOptions{MaxSize: 2 * xds.MaxResourceBytes}
	for {
		r := new(discovery.Resource)
		switch err := limits.UnmarshalFrom(reader, r); {
		case errors.Is(err, io.EOF):
			return saved, nil
		case err != nil:
			return nil, fmt.Errorf("%w: %w", errCorrupt, err)
		}
		saved = append(saved, r)
	}
}

// openLKG checks the file's outer form and returns the text within.
func openLKG(file, key []byte) ([]byte, error) {
	rest, ok := bytes.CutPrefix(file, []byte(lkgMagic))
	if !ok || len(rest) == 0 {
		return nil, fmt.Errorf("%w: it does not begin as one", errCorrupt)
	}
	kept, rest := rest[0], rest[1:]
	switch {
	case kept == lkgSealed && len(key) == 0:
		return nil, fmt.Errorf("%w: it is encrypted and no key is given", errCorrupt)
	case kept == lkgSealed:
		aead, err := newAEAD(key)
		if err != nil {
			return nil, err
		}
		if len(rest) < aead.NonceSize() {
			return nil, fmt.Errorf("%w: it is cut off", errCorrupt)
		}
		text, err := aead.Open(nil, rest[:aead.NonceSize()], rest[aead.NonceSize():], []byte(lkgMagic))
		if err != nil {
			return nil, fmt.Errorf("%w, or was written with another key", errCorrupt)
		}
		return text, nil
	case kept == lkgClear && len(rest) >= sha256.Size:
		if sum := sha256.Sum256(rest[sha256.Size:]); !bytes.Equal(sum[:], rest[:sha256.Size]) {
			return nil, fmt.Errorf("%w: its checksum is wrong", errCorrupt)
		}
		return rest[sha256.Size:], nil
	}
	return nil, fmt.Errorf("%w: it is cut off or of another version", errCorrupt)
}
