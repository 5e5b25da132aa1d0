package memstore_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/sidehook/sidehook/storage"
	"github.com/sidehook/sidehook/storage/memstore"
	"github.com/sidehook/sidehook/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSuite(t *testing.T) {
	storagetest.Run(t, func(testing.TB) storagetest.Harness {
		var s *memstore.Store
		return storagetest.Harness{Open: func(_ testing.TB, opts storage.Options) storage.Store {
			if s == nil {
				s = memstore.New(opts)
			} else {
				s.Reopen()
			}
			return s
		}}
	})
}
