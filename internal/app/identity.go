package app

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/sidehook/sidehook"
)

const idFile = "sidecar.id"

// sidecarID returns the configured id, or the one kept in dir, made at the first start.
func sidecarID(configured, dir string) (string, error) {
	if configured != "" {
		return configured, nil
	}
	path := filepath.Join(dir, idFile)
	b, err := os.ReadFile(path)
	switch {
	case err == nil:
		if id := strings.TrimSpace(string(b)); sidehook.ValidName(id) {
			return id, nil
		}
		return "", fmt.Errorf("%s does not hold a sidecar id; remove it and a new one is made", path)
	case !errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("read the sidecar's id: %w", err)
	}
	id := "sc_" + strings.ToLower(rand.Text())
	if err := os.WriteFile(path, []byte(id+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keep the sidecar's id: %w", err)
	}
	return id, nil
}
