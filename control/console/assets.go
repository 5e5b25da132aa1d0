package console

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

//go:embed assets
var assetFiles embed.FS

// assets serves what pages load. Their URLs carry a hash of the content, so that browsers keep them until it changes.
type assets struct {
	byURL map[string]*asset // last segment of the path
	urls  map[string]string // path by file name
}

type asset struct {
	kind    string
	plain   []byte
	zipped  []byte
	version string
}

var assetKinds = map[string]string{
	".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
}

func loadAssets() (*assets, error) {
	a := &assets{byURL: make(map[string]*asset), urls: make(map[string]string)}
	entries, err := fs.ReadDir(assetFiles, "assets")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		kind := assetKinds[path.Ext(e.Name())]
		if kind == "" {
			continue // a licence
		}
		b, err := fs.ReadFile(assetFiles, "assets/"+e.Name())
		if err != nil {
			return nil, err
		}
		if err := a.add(e.Name(), kind, b); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func (a *assets) add(name, kind string, b []byte) error {
	var zipped bytes.Buffer
	z, err := gzip.NewWriterLevel(&zipped, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := z.Write(b); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	sum := sha256.Sum256(b)
	version := hex.EncodeToString(sum[:8])
	stem, ext := strings.TrimSuffix(name, path.Ext(name)), path.Ext(name)
	segment := stem + "." + version + ext
	a.byURL[segment] = &asset{kind: kind, plain: b, zipped: zipped.Bytes(), version: version}
	a.urls[name] = Root + "assets/" + segment
	return nil
}

// url returns the path of a file, for templates.
func (a *assets) url(name string) (string, error) {
	u, ok := a.urls[name]
	if !ok {
		return "", fmt.Errorf("there is no asset %q", name)
	}
	return u, nil
}

// ServeHTTP implements http.Handler.
func (a *assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	found := a.byURL[r.PathValue("name")]
	if found == nil {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", found.kind)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("Vary", "Accept-Encoding")
	b := found.plain
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		b = found.zipped
	}
	_, _ = w.Write(b) // the reader has gone if this fails
}
