//! The CRD that is committed and what a cluster would make of it.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;

const COMMITTED: &str = include_str!("../tipspipelines.yaml");

#[test]
fn the_committed_crd_is_the_generated_one() {
    let generated = tipstream_crds::crd_yaml().expect("the CRD serializes");
    assert!(
        generated == COMMITTED,
        "crds/tipspipelines.yaml is not what the types say; regenerate it with\n\n    \
         cargo run -p tipstream-crds --bin crdgen > crds/tipspipelines.yaml\n"
    );
}

#[test]
fn the_committed_crd_reads_back() {
    let read: CustomResourceDefinition = serde_saphyr::from_str(COMMITTED).expect("a CRD");
    assert_eq!(read, tipstream_crds::crd());
}

#[test]
fn kubectl_apply_can_keep_it_in_an_annotation() {
    let json = serde_json::to_string(&tipstream_crds::crd()).expect("the CRD serializes");
    assert!(json.len() < 256 * 1024, "{} bytes", json.len());
}

#[test]
fn every_field_of_ours_is_described() {
    fn visit(path: &str, schema: &Value, missing: &mut Vec<String>) {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            if field["description"].is_null() {
                missing.push(path.clone());
            }
            // Below the fields of workload are the parts of a Pod, which Kubernetes describes.
            if !path.starts_with(".spec.workload.") {
                visit(&path, field, missing);
            }
        }
    }
    let schema = serde_json::to_value(tipstream_crds::schema()).expect("a schema is JSON");
    let mut missing = Vec::new();
    visit("", &schema, &mut missing);
    missing.retain(|path| !path.starts_with(".spec.workload") || path.matches('.').count() == 3);
    assert_eq!(missing, [""; 0], "fields without documentation");
}

#[test]
fn every_list_of_ours_says_how_it_is_merged() {
    fn visit(path: &str, schema: &Value, missing: &mut Vec<String>) {
        if schema["type"] == "array" && schema["x-kubernetes-list-type"].is_null() {
            missing.push(path.to_owned());
        }
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            // As in the test above: what is below is Kubernetes' own.
            if path != ".spec.workload" || field["type"] == "array" {
                visit(&format!("{path}.{name}"), field, missing);
            }
        }
    }
    let schema = serde_json::to_value(tipstream_crds::schema()).expect("a schema is JSON");
    let mut missing = Vec::new();
    visit("", &schema, &mut missing);
    assert_eq!(missing, [""; 0]);
}
