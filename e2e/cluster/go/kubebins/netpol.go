package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/cloudnativelabs/kube-router/v2/pkg/controllers/netpol"
	"github.com/cloudnativelabs/kube-router/v2/pkg/healthcheck"
	"github.com/cloudnativelabs/kube-router/v2/pkg/options"
	"github.com/cloudnativelabs/kube-router/v2/pkg/svcip"
	"github.com/spf13/pflag"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

const shutdownLimit = 5 * time.Second

// runNetpol is kube-router's firewall alone: its router and service proxy would bring BGP, cloud and Docker clients
// into the build.
func runNetpol() int {
	klog.InitFlags(nil)
	config := options.NewKubeRouterConfig()
	flags := pflag.NewFlagSet("netpol", pflag.ContinueOnError) // component-base already owns "version" in the global set
	config.AddFlags(flags)
	if err := flags.Parse(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	_ = flag.CommandLine.Parse(nil)
	_ = flag.Set("logtostderr", "true")
	_ = flag.Set("v", config.VLevel)
	if err := enforce(config); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// enforce keeps the node's iptables equal to the cluster's NetworkPolicies until a signal ends it.
func enforce(config *options.KubeRouterConfig) error {
	controller, err := newController(config)
	if err != nil {
		return err
	}
	stop := make(chan struct{})
	heartbeats := make(chan *healthcheck.ControllerHeartbeat, 16)
	go func() {
		for range heartbeats { // nobody reads them here, and a full channel would stall the controller
		}
	}()
	var running sync.WaitGroup
	running.Add(1)
	go controller.Run(heartbeats, stop, &running)

	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	<-signals
	close(stop)
	done := make(chan struct{})
	go func() {
		running.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(shutdownLimit):
	}
	return nil
}

func newController(config *options.KubeRouterConfig) (*netpol.NetworkPolicyController, error) {
	rest, err := clientcmd.BuildConfigFromFlags(config.Master, config.Kubeconfig)
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(rest)
	if err != nil {
		return nil, err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	pods := factory.Core().V1().Pods().Informer()
	namespaces := factory.Core().V1().Namespaces().Informer()
	policies := factory.Networking().V1().NetworkPolicies().Informer()
	forever := make(chan struct{})
	factory.Start(forever)
	for kind, synced := range factory.WaitForCacheSync(forever) {
		if !synced {
			return nil, fmt.Errorf("the cache of %v did not fill", kind)
		}
	}
	addresses, err := svcip.NewValidator(svcip.Config{
		ExternalIPCIDRs:   config.ExternalIPCIDRs,
		LoadBalancerCIDRs: config.LoadBalancerCIDRs,
		ClusterIPCIDRs:    config.ClusterIPCIDRs,
		StrictValidation:  config.StrictExternalIPValidation,
		EnableIPv4:        config.EnableIPv4,
		EnableIPv6:        config.EnableIPv6,
	})
	if err != nil {
		return nil, err
	}
	tables, sets, err := netpol.NewIPTablesHandlers(config)
	if err != nil {
		return nil, err
	}
	rememberAll(tables)
	controller, err := netpol.NewNetworkPolicyController(
		client, config, pods, policies, namespaces, &sync.Mutex{}, nil, tables, sets, addresses)
	if err != nil {
		return nil, err
	}
	pods.AddEventHandler(controller.PodEventHandler)
	namespaces.AddEventHandler(controller.NamespaceEventHandler)
	policies.AddEventHandler(controller.NetworkPolicyEventHandler)
	return controller, nil
}
