package badgerstore

import (
	"testing"

	"github.com/sidehook/sidehook/storage"
	"github.com/sidehook/sidehook/storage/storagetest"
)

func openStore(t testing.TB, dir string, opts Options) *Store {
	t.Helper()
	s, err := Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func TestSuite(t *testing.T) {
	storagetest.Run(t, func(t testing.TB) storagetest.Harness {
		dir := t.TempDir()
		return storagetest.Harness{Open: func(t testing.TB, opts storage.Options) storage.Store {
			return openStore(t, dir, Options{Options: opts})
		}}
	})
}
