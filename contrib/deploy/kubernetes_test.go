package deploy

import (
	"os"
	"testing"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// TestKubernetes decodes the manifest into the types of the Kubernetes API, where a field that is not one of theirs is an
// error, and sees that the containers share what they must.
func TestKubernetes(t *testing.T) {
	b, err := os.ReadFile("kubernetes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var set apps.StatefulSet
	if err := yaml.UnmarshalStrict(b, &set); err != nil {
		t.Fatal(err)
	}
	if set.APIVersion != apps.SchemeGroupVersion.String() || set.Kind != "StatefulSet" {
		t.Errorf("%s %s", set.APIVersion, set.Kind)
	}
	for key, value := range set.Spec.Selector.MatchLabels {
		if set.Spec.Template.Labels[key] != value {
			t.Errorf("the selector wants %s=%s, and the pods have %v", key, value, set.Spec.Template.Labels)
		}
	}
	pod := set.Spec.Template.Spec
	if pod.ShareProcessNamespace == nil || !*pod.ShareProcessNamespace || pod.SecurityContext.FSGroup != nil ||
		pod.SecurityContext.RunAsUser == nil {
		t.Error("the containers do not share processes and a user, or a group can write to their volumes")
	}
	volumes := map[string]core.VolumeSource{}
	for _, v := range pod.Volumes {
		volumes[v.Name] = v.VolumeSource
	}
	if e := volumes["shm"].EmptyDir; e == nil || e.Medium != core.StorageMediumMemory || e.SizeLimit == nil {
		t.Errorf("the volume shm is %+v", volumes["shm"])
	}
	containers := append(pod.InitContainers, pod.Containers...)
	if r := pod.InitContainers[0].RestartPolicy; r == nil || *r != core.ContainerRestartPolicyAlways {
		t.Error("the supervisor is no sidecar: it would have to end before the programs start")
	}
	for _, c := range containers {
		mounts := map[string]string{}
		for _, m := range c.VolumeMounts {
			mounts[m.MountPath] = m.Name
		}
		env := map[string]string{}
		for _, e := range c.Env {
			env[e.Name] = e.Value
		}
		if mounts["/dev/shm"] != "shm" || mounts["/run/dsm"] != "dsm" || env["DSM_DIR"] != "/run/dsm/instance" {
			t.Errorf("container %s has the mounts %v and the directory %q", c.Name, mounts, env["DSM_DIR"])
		}
		if c.SecurityContext.RunAsUser != nil {
			t.Errorf("container %s runs as a user of its own", c.Name)
		}
		if _, limited := c.Resources.Limits[core.ResourceMemory]; !limited {
			t.Errorf("container %s may use all memory of the node", c.Name)
		}
	}
	shm := volumes["shm"].EmptyDir.SizeLimit
	if limit := pod.Containers[0].Resources.Limits[core.ResourceMemory]; limit.Cmp(*shm) <= 0 {
		t.Errorf("the program may use %v, and the memory that it shares is to hold %v", limit.String(), shm)
	}
}
