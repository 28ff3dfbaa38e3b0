//! Names of samplers: those of diffusers, A1111 and k-diffusion, as ComfyUI has them.

/// Name as it is written most plainly, ComfyUI's sampler.
const NAMES: &[(&str, &str)] = &[
    ("euler_a", "euler_ancestral"),
    ("euler_ancestral_discrete", "euler_ancestral"),
    ("euler_discrete", "euler"),
    ("heun_discrete", "heun"),
    ("lms_discrete", "lms"),
    ("dpm2", "dpm_2"),
    ("dpm2_a", "dpm_2_ancestral"),
    ("dpm2_ancestral", "dpm_2_ancestral"),
    ("dpm_2_a", "dpm_2_ancestral"),
    ("dpm++_2m", "dpmpp_2m"),
    ("dpm++_2m_sde", "dpmpp_2m_sde"),
    ("dpm++_2m_sde_heun", "dpmpp_2m_sde_heun"),
    ("dpm++_3m_sde", "dpmpp_3m_sde"),
    ("dpm++_sde", "dpmpp_sde"),
    ("dpm++_2s_a", "dpmpp_2s_ancestral"),
    ("dpmpp_2s_a", "dpmpp_2s_ancestral"),
    ("dpmsolver_multistep", "dpmpp_2m"),
    ("dpmsolver++", "dpmpp_2m"),
    ("dpm_multistep", "dpmpp_2m"),
    ("dpmsolver_sde", "dpmpp_sde"),
    ("unipc", "uni_pc"),
    ("unipc_multistep", "uni_pc"),
    ("uni_pc_multistep", "uni_pc"),
    ("unipc_bh2", "uni_pc_bh2"),
    ("deis_multistep", "deis"),
];

const SCHEDULERS: &[(&str, &str)] = &[
    ("_karras", "karras"),
    ("_exponential", "exponential"),
    ("_sgm_uniform", "sgm_uniform"),
    ("_ddim_uniform", "ddim_uniform"),
    ("_simple", "simple"),
    ("_beta", "beta"),
];

/// ComfyUI's sampler, and its scheduler where the name says one. An unknown name stays as it is:
/// the server may have it.
pub fn comfyui(name: &str) -> (String, Option<&'static str>) {
    let mut plain = name.trim().to_lowercase().replace([' ', '-'], "_");
    if let Some(rest) = plain.strip_prefix("k_") {
        plain = rest.to_owned();
    }
    if let Some(rest) = plain.strip_suffix("scheduler") {
        plain = rest.trim_end_matches('_').to_owned();
    }
    let mut scheduler = None;
    for (ending, its) in SCHEDULERS {
        if let Some(rest) = plain.strip_suffix(ending)
            && !rest.is_empty()
        {
            (plain, scheduler) = (rest.to_owned(), Some(*its));
            break;
        }
    }
    let squeezed = |s: &str| s.replace('_', "");
    let known = NAMES.iter().find(|(from, _)| squeezed(from) == squeezed(&plain));
    (known.map_or(plain, |(_, to)| (*to).to_owned()), scheduler)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_programs_are_understood() {
        for (name, sampler, scheduler) in [
            ("euler_ancestral", "euler_ancestral", None),
            ("euler a", "euler_ancestral", None),
            ("Euler a", "euler_ancestral", None),
            ("k_euler_ancestral", "euler_ancestral", None),
            ("K_EULER", "euler", None),
            ("EulerAncestralDiscreteScheduler", "euler_ancestral", None),
            ("DPMSolverMultistepScheduler", "dpmpp_2m", None),
            ("UniPCMultistepScheduler", "uni_pc", None),
            ("dpmpp_2m_karras", "dpmpp_2m", Some("karras")),
            ("DPM++ 2M Karras", "dpmpp_2m", Some("karras")),
            ("DPM++ 2M SDE Exponential", "dpmpp_2m_sde", Some("exponential")),
            ("DPM2 a", "dpm_2_ancestral", None),
            ("ddim", "ddim", None),
            ("unipc", "uni_pc", None),
            ("uni_pc", "uni_pc", None),
            ("lcm", "lcm", None),
            ("res_multistep", "res_multistep", None),
            ("something_new", "something_new", None),
            ("karras", "karras", None),
        ] {
            assert_eq!(comfyui(name), (sampler.to_owned(), scheduler), "{name}");
        }
    }
}
