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

/// Every field of spec and status with its path, as far as it is ours: below the fields of
/// workload and below resources are the parts of a Pod, which Kubernetes describes.
fn our_fields() -> Vec<(String, Value)> {
    fn visit(path: &str, schema: &Value, found: &mut Vec<(String, Value)>) {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            if !path.starts_with("spec.workload.") && name != "resources" {
                visit(&path, field, found);
            }
            found.push((path, field.clone()));
        }
    }
    let schema = serde_json::to_value(tipstream_crds::schema()).expect("a schema is JSON");
    let mut found = Vec::new();
    for part in ["spec", "status"] {
        visit(part, &schema["properties"][part], &mut found);
    }
    found
}

/// The paths of those of our fields that `wrong` is true of.
fn fields_where(wrong: impl Fn(&Value) -> bool) -> Vec<String> {
    let mut fields = our_fields();
    assert!(fields.len() > 100, "the walk found {} fields", fields.len());
    fields.retain(|(_, field)| wrong(field));
    fields.into_iter().map(|(path, _)| path).collect()
}

#[test]
fn every_field_is_described() {
    let undescribed = fields_where(|field| field["description"].is_null());
    assert_eq!(undescribed, [""; 0]);
}

#[test]
fn every_list_says_how_it_is_merged() {
    let lists = fields_where(|field| field["type"] == "array" && field["x-kubernetes-list-type"].is_null());
    assert_eq!(lists, [""; 0]);
}

#[test]
fn null_is_no_value_of_any_field() {
    let nullable = fields_where(|field| field["nullable"] == true);
    assert_eq!(nullable, [""; 0]);
}
