package main

import (
	"strings"
	"time"

	"github.com/cloudnativelabs/kube-router/v2/pkg/utils"
)

// remembered is for how long kube-router believes that its own chains and rules are as it found them.
const remembered = 30 * time.Second

// remembering spares kube-router most of the 36 programs that it starts for each change of a pod: two in three only ask
// whether a chain or rule that never changes is still there. What is there is asked again after a while, and as soon as
// anything is changed; what is not there is never remembered. Not for calls from several goroutines: a synchronisation
// holds kube-router's own lock.
type remembering struct {
	utils.IPTablesHandler
	there map[string]bool
	lists map[string][]string
	since time.Time
}

func rememberAll[Family comparable](tables map[Family]utils.IPTablesHandler) {
	for family, handler := range tables {
		tables[family] = &remembering{IPTablesHandler: handler}
	}
}

func (r *remembering) refresh() {
	if r.there == nil || time.Since(r.since) > remembered {
		r.forget()
	}
}

func (r *remembering) forget() {
	r.there, r.lists, r.since = map[string]bool{}, map[string][]string{}, time.Now()
}

func keyOf(table, chain string, rule []string) string {
	return table + "\x00" + chain + "\x00" + strings.Join(rule, "\x00")
}

func (r *remembering) ChainExists(table, chain string) (bool, error) {
	return r.ask(keyOf(table, chain, nil), func() (bool, error) { return r.IPTablesHandler.ChainExists(table, chain) })
}

func (r *remembering) Exists(table, chain string, rule ...string) (bool, error) {
	return r.ask(keyOf(table, chain, rule), func() (bool, error) { return r.IPTablesHandler.Exists(table, chain, rule...) })
}

func (r *remembering) ask(key string, look func() (bool, error)) (bool, error) {
	r.refresh()
	if r.there[key] {
		return true, nil
	}
	there, err := look()
	if err == nil && there {
		r.there[key] = true
	}
	return there, err
}

func (r *remembering) List(table, chain string) ([]string, error) {
	r.refresh()
	key := keyOf(table, chain, nil)
	if rules, known := r.lists[key]; known {
		return rules, nil
	}
	rules, err := r.IPTablesHandler.List(table, chain)
	if err == nil {
		r.lists[key] = rules
	}
	return rules, err
}

func (r *remembering) AppendUnique(table, chain string, rule ...string) error {
	there, err := r.Exists(table, chain, rule...)
	if err != nil || there {
		return err
	}
	return r.Append(table, chain, rule...)
}

func (r *remembering) Append(table, chain string, rule ...string) error {
	r.forget()
	return r.IPTablesHandler.Append(table, chain, rule...)
}

func (r *remembering) Insert(table, chain string, position int, rule ...string) error {
	r.forget()
	return r.IPTablesHandler.Insert(table, chain, position, rule...)
}

func (r *remembering) Delete(table, chain string, rule ...string) error {
	r.forget()
	return r.IPTablesHandler.Delete(table, chain, rule...)
}

func (r *remembering) DeleteIfExists(table, chain string, rule ...string) error {
	r.forget()
	return r.IPTablesHandler.DeleteIfExists(table, chain, rule...)
}

func (r *remembering) NewChain(table, chain string) error {
	r.forget()
	return r.IPTablesHandler.NewChain(table, chain)
}

func (r *remembering) ClearChain(table, chain string) error {
	r.forget()
	return r.IPTablesHandler.ClearChain(table, chain)
}

func (r *remembering) DeleteChain(table, chain string) error {
	r.forget()
	return r.IPTablesHandler.DeleteChain(table, chain)
}

func (r *remembering) ClearAndDeleteChain(table, chain string) error {
	r.forget()
	return r.IPTablesHandler.ClearAndDeleteChain(table, chain)
}
