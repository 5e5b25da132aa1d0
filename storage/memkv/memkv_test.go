package memkv_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/sidehook/sidehook/storage"
	"github.com/sidehook/sidehook/storage/kvtest"
	"github.com/sidehook/sidehook/storage/memkv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSuite(t *testing.T) {
	kvtest.Run(t, kvtest.Backend{Open: func(*testing.T, string) storage.KV { return memkv.New() }})
}
