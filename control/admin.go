package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/sidehook/sidehook/storage"
)

// adminTokenName names the token that EnsureAdminToken makes.
const adminTokenName = "first admin"

// EnsureAdminToken makes sure that there is an admin token. When there is none it takes the one in the file at path, if
// the file is there (so it can be provided), or else makes one and writes it there with mode 0600; then it stores its
// hash. The file is written first: after a crash in between, the next start finds it and carries on.
// When there is an admin token already it does nothing, even if the file is gone.
func (s *Service) EnsureAdminToken(ctx context.Context, path string) error {
	admin, err := firstToken(&txn{ctx: ctx, kv: s.kv}, func(_ storage.Pair, r *tokenRecord) bool {
		return r.Kind == TokenAdmin
	})
	if err != nil {
		return fmt.Errorf("look for an admin token: %w", err)
	}
	if admin != nil {
		return nil
	}
	plain, err := readToken(path)
	if errors.Is(err, fs.ErrNotExist) {
		plain = newToken()
		err = writePrivate(path, plain+"\n")
	}
	if err != nil {
		return fmt.Errorf("admin token file: %w", err)
	}
	_, err = s.storeToken(ctx, TokenSpec{Name: adminTokenName, Kind: TokenAdmin}, plain)
	return err
}

func readToken(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // only read
	b, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return "", err
	}
	plain := strings.TrimSpace(string(b))
	if _, ok := hashToken(plain); !ok {
		return "", fmt.Errorf("%s does not hold a token (%s and %d bytes in base64url); remove it to get a new one", path,
			TokenPrefix, tokenBytes)
	}
	return plain, nil
}

// writePrivate writes a file that only its owner can read, whole or not at all, and durably.
func writePrivate(path, content string) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.WriteString(content)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
